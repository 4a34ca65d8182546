"""The networks. They read no environment, print nothing, choose no device and download nothing."""

"""The durable queue: jobs survive crashes, none is lost and none is done twice."""

"""Making the evaluation's own networks from the stage's tracks: crops, the sync expert, the face units."""

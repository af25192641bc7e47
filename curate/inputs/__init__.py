"""Names of inputs to rows of videos: files, folders, lists and uris; whatever is wrong with one, it keeps a row."""

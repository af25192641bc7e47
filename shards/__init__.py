"""The contract between curation and training: every column, id, byte layout and time base that crosses a border.

Heavy parts (torch, webdataset) are imported by the functions that need them, never by this package.
"""

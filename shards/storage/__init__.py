"""Where objects lie: local folders and object stores, behind six verbs."""

"""The safe child process, and what runs in it: opening strangers' files, probing, scanning. Import files by name."""

"""`python -m reelmill` is the command."""

from reelmill.cli import main

if __name__ == "__main__":
    main()

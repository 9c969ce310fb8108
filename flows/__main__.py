"""`python -m flows` is `ctd`."""

from flows.cli import main

if __name__ == "__main__":
    main()

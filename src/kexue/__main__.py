"""`python -m kexue` is `kexue`."""

from kexue.cli import main

if __name__ == "__main__":
    main()

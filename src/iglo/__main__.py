"""`python -m iglo`: the command `iglo`."""

from iglo.cli import main

if __name__ == "__main__":
    main(prog_name="iglo")

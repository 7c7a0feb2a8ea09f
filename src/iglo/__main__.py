"""`python -m iglo`: the command `iglo`."""

from iglo.cli.main import main

if __name__ == "__main__":
    main(prog_name="iglo")

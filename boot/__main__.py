"""`python -m boot` is `hardtack`."""

from boot.entry import main

if __name__ == "__main__":
    raise SystemExit(main())

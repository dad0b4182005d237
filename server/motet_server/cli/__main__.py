"""`python -m motet_server.cli` is the `motet` program."""

from motet_server.cli import main

main()

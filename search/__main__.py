"""`python -m tf_autodropout.search` is the command `tf-autodropout`."""

from tf_autodropout.search.terminal.cli import main

main()

"""Our own algorithms. This package is loaded exactly as a stranger's plugin is: importing it registers rows."""

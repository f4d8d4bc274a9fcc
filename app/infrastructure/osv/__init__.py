"""Known vulnerabilities, from a folder of files in the OSV format."""

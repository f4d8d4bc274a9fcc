"""What the command finds where. Paths that every tool chain of a distribution needs, and nothing that is a site's own:
/etc holds passwords and tokens too, so only what is named here is seen of it."""

from __future__ import annotations

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

ETC: tuple[str, ...] = ("alternatives", "ca-certificates", "ca-certificates.conf", "ssl/certs")
ETC += (
    "ssl/openssl.cnf",
    "pki/tls/certs",
    "pki/ca-trust",
    "pki/tls/openssl.cnf",
    "crypto-policies",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
)
ETC += ("localtime", "timezone", "locale.alias", "mime.types", "protocols", "services", "networks", "host.conf")
ETC += ("gai.conf", "nsswitch.conf", "os-release", "debian_version", "lsb-release", "redhat-release", "alpine-release")
ETC += ("login.defs", "profile", "profile.d", "bash.bashrc", "bashrc", "inputrc", "terminfo", "magic", "fonts", "perl")
ETC += ("python3", "python3.11", "python3.12", "python3.13", "java", "java-17-openjdk", "java-21-openjdk")
ETC += ("java-25-openjdk", "maven", "dotnet")
# Written by us where there is a mount namespace, read as they are where there is none.
ETC_OF_OURS = ("passwd", "group", "hosts", "resolv.conf")

DEVICES = ("null", "zero", "full", "random", "urandom")

WORKSPACE = "/workspace"
HOME = "/home/sandbox"
USER_NAME = "sandbox"
# What the command is in its user namespace, whoever we are outside.
USER_INSIDE = 1000

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Answers with Ansible and Python themselves how words are split, values read, names matched and hosts expanded.
import fnmatch
import json
import re
import shlex
import sys

from ansible.inventory.manager import split_host_pattern
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.plugins.inventory.ini import InventoryModule

ini = InventoryModule()


def attempt(function, *args):
    try:
        return function(*args)
    except Exception:
        return None


def literal(text):
    value = ini._parse_value(text.strip())
    if isinstance(value, (str, bool)) or type(value) is int:
        return str(value)
    return None  # not one of those that we tell apart


def hosts(pattern):
    names, port = BaseInventoryPlugin._expand_hostpattern(ini, pattern)
    return names + [str(port or "")] if names else None


questions = json.load(sys.stdin)
json.dump(
    {
        "words": [attempt(shlex.split, w, True) for w in questions["words"]],
        "literals": [attempt(literal, v) for v in questions["literals"]],
        "globs": [bool(re.compile(fnmatch.translate(p)).match(n)) for p, n in questions["globs"]],
        "hosts": [attempt(hosts, h) for h in questions["hosts"]],
        "lists": [attempt(split_host_pattern, p) for p in questions["lists"]],
    },
    sys.stdout,
)

# Answers with Ansible itself what inventories say. In: a JSON list of {sources, patterns}; out: a list of {hosts, groups, limits}.
import json
import os
import sys

from ansible.inventory.manager import InventoryManager
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import become_loader, connection_loader
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager

Display.warning = lambda self, *args, **kwargs: None


def reached(variables, name):
    conn = connection_loader.get("ssh", PlayContext(), os.devnull)
    conn.set_options(var_options=variables)
    out = {
        "name": name,
        "address": conn.get_option("host"),
        "port": int(conn.get_option("port") or 0),
        "user": str(conn.get_option("remote_user") or ""),
        "key": os.path.expanduser(conn.get_option("private_key_file") or ""),
        "timeout": int(conn.get_option("timeout")) if variables.get("ansible_ssh_timeout") else 0,
        "local": variables.get("ansible_connection") == "local",
        "become": "",
        "becomeUser": "",
    }
    if boolean(variables.get("ansible_become") or False):
        out["become"] = variables.get("ansible_become_method") or "sudo"
        if out["become"] in ("sudo", "su"):
            plugin = become_loader.get(out["become"])
            plugin.set_options(var_options=variables)
            out["becomeUser"] = plugin.get_option("become_user")
        else:
            out["becomeUser"] = variables.get("ansible_become_user") or "root"
    return out


def limited(inventory, pattern):
    try:
        inventory.subset(pattern)
        names = [h.name for h in inventory.get_hosts("all")]
        return names if names else None
    except Exception:
        return None
    finally:
        inventory.subset(None)


def answer(question):
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=question["sources"])
    manager = VariableManager(loader=loader, inventory=inventory)
    hosts = []
    for host in inventory.get_hosts("all"):
        variables = manager.get_vars(host=host, include_hostvars=False, stage="all")
        hosts.append(reached(variables, host.name))
    return {
        "hosts": hosts,
        "groups": {n: sorted(h.name for h in g.get_hosts()) for n, g in inventory.groups.items()},
        "limits": [limited(inventory, p) for p in question["patterns"]],
    }


json.dump([answer(q) for q in json.load(sys.stdin)], sys.stdout)

# METADATA
# title: A sysctl file sets conntrack before conntrack is loaded
# description: |
#   sysctl.d is applied early at boot. Where nf_conntrack is a module that nobody loads by then, its keys do not exist yet and the line
#   does nothing.
# related_resources:
#   - ref: https://github.com/Azure/aks-engine/pull/1073
#   - ref: https://github.com/Azure/aks-engine/pull/1093
#   - ref: https://www.freedesktop.org/software/systemd/man/latest/sysctl.d.html
# custom:
#   severity: high
#   remediation: |
#     Name nf_conntrack in a file under /etc/modules-load.d, so that the module is there when sysctl.d is applied. Do not
#     hang the write on kubelet's ExecStartPre: when the key is missing there, the node stays down.
package control.lib["CT-LIB-036"]

import data.lib.node
import data.lib.persisted
import data.lib.result

keys := {key: a |
	some key, a in input.persisted.effective
	not a.dead
	conntrack_key(key)
}

conntrack_key(key) if startswith(key, "net.netfilter.nf_conntrack_")

conntrack_key("net.nf_conntrack_max")

results contains result.unknown("node", sprintf("%s.", [persisted.gap.why]), node.hint([persisted.gap])) if not persisted.read

results contains result.not_applicable("node", "No file sets a conntrack key.") if {
	persisted.read
	count(keys) == 0
}

results contains judge(key, a) if {
	persisted.read
	some key, a in keys
}

judge(key, a) := result.pass(key, sprintf("conntrack is part of the kernel when %s is applied.", [a.file]), persisted.evidence(a)) if {
	input.kernel.conntrackAtBoot == "builtin"
} else := result.pass(key, sprintf("nf_conntrack is loaded before %s is applied%s.", [a.file, source]), persisted.evidence(a)) if {
	input.kernel.conntrackAtBoot == "modules-load"
} else := result.fail(
	key,
	sprintf("%s:%d sets %s at boot, when nf_conntrack is not loaded yet: %s.", [a.file, a.line, key, now(key, a)]),
	{
		"severity": severity(key, a),
		"evidence": array.concat(persisted.evidence(a), [{"kind": "note", "name": "nf_conntrack at boot", "value": input.kernel.conntrackAtBoot}]),
		"fix": "echo nf_conntrack > /etc/modules-load.d/conntrack.conf",
	},
) if {
	input.kernel.conntrackAtBoot == "late"
} else := result.unknown(key, sprintf("Whether nf_conntrack is loaded when %s is applied is not known.", [a.file]), "see whether lsmod lists nf_conntrack after a boot, before anything uses it, or name it in /etc/modules-load.d")

source := sprintf(" (%s)", [input.kernel.conntrackAtBootFile]) if {
	object.get(input.kernel, "conntrackAtBootFile", "") != ""
} else := ""

now(key, a) := "it was set again later, by hand or by a service" if {
	holds(key, a)
} else := "the line does nothing"

holds(key, a) if {
	input.sysctl[key].known
	not node.absent(key)
	persisted.same(a)
}

severity(key, a) := "low" if {
	holds(key, a)
} else := "high" if {
	key == node.be_liberal
} else := "medium"

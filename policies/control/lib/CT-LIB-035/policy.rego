# METADATA
# title: A sysctl is not what the files say
# description: |
#   The kernel's live value differs from the one that the files set at boot, or be_liberal is on although no file sets it. What holds today
#   will not hold after the next boot, or the other way round.
# related_resources:
#   - ref: https://www.freedesktop.org/software/systemd/man/latest/sysctl.d.html
# custom:
#   severity: medium
#   remediation: |
#     Decide which value is meant, write it into one file under /etc/sysctl.d, and load it with sysctl -p FILE.
package control.lib["CT-LIB-035"]

import data.lib.fix
import data.lib.node
import data.lib.persisted
import data.lib.result

effective := {key: a | some key, a in input.persisted.effective; not a.dead}

# kube-proxy writes these when it starts.
kube_proxy_keys := {
	"net.netfilter.nf_conntrack_max",
	"net.netfilter.nf_conntrack_tcp_timeout_established",
	"net.netfilter.nf_conntrack_tcp_timeout_close_wait",
	node.be_liberal,
}

kube_proxy if startswith(input.serviceProxy.value, "kube-proxy-")

results contains result.unknown("node", sprintf("%s.", [persisted.gap.why]), node.hint([persisted.gap])) if not persisted.read

results contains judge(key, a) if {
	persisted.read
	some key, a in effective
}

results contains result.fail(
	node.be_liberal,
	"be_liberal is on, but no file sets it: the next boot switches it off unless whoever set it does so again.",
	{
		"severity": severity(node.be_liberal),
		"evidence": node.window_checks_evidence,
		"fix": sprintf("echo '%s = 1' > /etc/sysctl.d/90-conntrack.conf", [node.be_liberal]),
	},
) if {
	unbacked
}

unbacked if {
	persisted.read
	node.liberal
	not effective[node.be_liberal]
}

results contains result.not_applicable("node", "No file sets a key that matters here.") if {
	persisted.read
	count(effective) == 0
	not unbacked
}

judge(key, a) := result.unknown(key, sprintf("%s could not be compared with %s: %s.", [key, a.file, node.key_gap(key).why]), node.hint([node.key_gap(key)])) if {
	not input.sysctl[key].known
} else := result.not_applicable(key, sprintf("%s:%d sets %s, which this kernel does not have now.", [a.file, a.line, key])) if {
	node.absent(key)
} else := result.pass(key, sprintf("%s is what %s:%d says.", [key, a.file, a.line]), persisted.evidence(a)) if {
	persisted.same(a)
} else := result.fail(
	key,
	sprintf("%s is %s, but %s:%d sets it to %s.", [key, input.sysctl[key].value, a.file, a.line, a.value]),
	{
		"severity": severity(key),
		"evidence": array.concat([{"kind": "sysctl", "name": key, "value": input.sysctl[key].value}], persisted.evidence(a)),
		"fix": sprintf("sysctl -p %s", [fix.quoted(a.file)]),
	},
)

severity(key) := "low" if {
	kube_proxy
	key in kube_proxy_keys
} else := "medium" if {
	startswith(key, "net.netfilter.")
} else := "low"

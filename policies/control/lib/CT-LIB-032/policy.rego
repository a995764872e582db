# METADATA
# title: be_liberal is set where the ruleset protects anyway
# description: |
#   The kernel ignores the common stale segments since Linux 6.1, and the ruleset drops what is left, so be_liberal switches the window
#   checks off for the whole node and gains nothing.
# related_resources:
#   - ref: https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id=d9a6f0d0df18
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: info
#   remediation: |
#     Set net.netfilter.nf_conntrack_tcp_be_liberal=0, in the files too, unless asymmetric paths need it.
package control.lib["CT-LIB-032"]

import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result

judged := [e | some e in path.all; path.premise(e.question, e.family).is != "no"]

states := {path.ruleset_verdict(e).state | some e in judged}

protected if {
	count(judged) > 0
	states == {"protected"}
}

results contains result.unknown("node", sprintf("%s.", [gap.why]), node.hint([gap])) if {
	node.window_checks == "unknown"
	gap := node.gap(node.be_liberal, input.liberal)
}

results contains result.not_applicable("node", "be_liberal is not set.") if node.window_checks == "on"

results contains result.pass("node", sprintf("be_liberal is set, and this kernel needs a guard (kernel_fix %s).", [input.kernel.fix]), node.window_checks_evidence) if {
	node.window_checks == "off"
	not node.mended
}

results contains result.fail(
	"node",
	"be_liberal is set, but the ruleset drops what this kernel still calls INVALID: the window checks are off for nothing.",
	{"evidence": array.concat(node.window_checks_evidence, node.kernel_evidence), "fix": fix.sysctl(node.be_liberal, 0)},
) if {
	node.window_checks == "off"
	node.mended
	protected
}

results contains result.unknown("node", sprintf("Whether the ruleset protects without be_liberal is not known: %s.", [v.why]), v.hint) if {
	node.window_checks == "off"
	node.mended
	not "exposed" in states
	"unknown" in states
	v := [x | some e in judged; x := path.ruleset_verdict(e); x.state == "unknown"][0]
}

results contains result.pass("node", "be_liberal is set, and the ruleset alone would not protect every connection.", node.window_checks_evidence) if {
	node.window_checks == "off"
	node.mended
	"exposed" in states
}

results contains result.not_applicable("node", "be_liberal is set; no source NAT and no Service needs it or does without it.") if {
	node.window_checks == "off"
	node.mended
	count(judged) == 0
}

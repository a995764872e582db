# METADATA
# title: A file sets a key that no kernel has
# description: |
#   net.ipv4.netfilter.ip_conntrack_* went away with Linux 4.9. A file that still sets ip_conntrack_tcp_be_liberal changes nothing, and
#   sysctl -e hides the error. Boot scripts and unit files that write it are found too, without saying that they are ever run.
# related_resources:
#   - ref: https://kubernetes.io/blog/2019/03/29/kube-proxy-subtleties-debugging-an-intermittent-connection-reset/
#   - ref: https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id=adf0516845bc
# custom:
#   severity: high
#   remediation: |
#     Write net.netfilter.nf_conntrack_tcp_be_liberal instead of the old name.
package control.lib["CT-LIB-034"]

import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.persisted
import data.lib.result

dead_be_liberal := "net.ipv4.netfilter.ip_conntrack_tcp_be_liberal"

dead := [a | some a in input.persisted.all; a.dead]

by_file := {file: here |
	some a in dead
	file := name_of(a)
	here := [x | some x in dead; name_of(x) == file]
}

# A snapshot may come from anywhere: a file without a name is still a finding.
name_of(line) := line.file if {
	is_string(line.file)
	line.file != ""
} else := "a file without a name"

scripts := {file: here |
	some m in mentions
	file := name_of(m)
	here := [x | some x in mentions; name_of(x) == file]
}

mentions := [m | some m in object.get(input.persisted, "mentions", []); m.dead; not by_file[name_of(m)]]

results contains result.unknown("node", sprintf("%s.", [persisted.gap.why]), node.hint([persisted.gap])) if {
	not persisted.read
	count(dead) + count(mentions) == 0
}

results contains result.pass("node", "No sysctl file, boot script or unit sets a key that no kernel has.", []) if {
	persisted.read
	count(dead) + count(mentions) == 0
}

results contains result.fail(
	file,
	sprintf("%s sets %s, which no kernel since 4.9 has: %s.", [file, lead(lines).key, consequence(lines)]),
	{"severity": severity(lines), "evidence": [x | some a in lines; some x in persisted.evidence(a)], "fix": remedy(file)},
) if {
	some file, lines in by_file
}

results contains result.fail(
	file,
	sprintf("%s names %s, which no kernel since 4.9 has: %s.", [file, dead_be_liberal, script_consequence]),
	{"severity": script_severity, "evidence": [evidence | some m in lines; evidence := line_evidence(m)]},
) if {
	some file, lines in scripts
}

line_evidence(m) := {"kind": "file", "name": sprintf("%s:%d", [m.file, m.line]), "value": m.text}

script_consequence := "writing it does nothing, and the right key is set beside it" if {
	right_key
} else := "writing it does nothing, and be_liberal stays off"

script_severity := "high" if {
	not right_key
	unguarded
} else := "low"

unguarded if {
	some e in path.all
	path.verdict(e).state in {"exposed", "unknown"}
}

lead(lines) := [a | some a in lines; a.key == dead_be_liberal][0] if {
	wants_liberal(lines)
} else := lines[0]

wants_liberal(lines) if {
	some a in lines
	a.key == dead_be_liberal
	persisted.on(a)
}

right_key if node.window_checks == "off"

right_key if persisted.on(input.persisted.effective[node.be_liberal])

consequence(lines) := "the line does nothing" if {
	not wants_liberal(lines)
} else := "the line does nothing, and the right key is set beside it" if {
	right_key
} else := "be_liberal stays off"

# High where somebody believes to be guarded and is not.
severity(lines) := "high" if {
	wants_liberal(lines)
	not right_key
	unguarded
} else := "low"

remedy(file) := sprintf("sed -i 's/net\\.ipv4\\.netfilter\\.ip_conntrack_/net.netfilter.nf_conntrack_/' %s\nsysctl -p %s", [fix.quoted(file), fix.quoted(file)])

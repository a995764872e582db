package test.lib["CT-LIB-034"]

import data.control.lib["CT-LIB-034"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

assignment(key, value) := {
	"key": key,
	"value": value,
	"file": "/etc/sysctl.d/99-conntrack.conf",
	"line": 3,
	"ignore": false,
	"dead": startswith(key, "net.ipv4.netfilter."),
}

dead := assignment("net.ipv4.netfilter.ip_conntrack_tcp_be_liberal", "1")

with_file(base, list) := fixture.patch(base, {"persisted": {"all": list}})

test_dead_key_fails if {
	r := judge(with_file(fixture.docker, [dead]))
	r.outcome == "fail"
	r.severity == "high"
	r.subject == "/etc/sysctl.d/99-conntrack.conf"
	contains(r.message, "be_liberal stays off")
	r.evidence == [{"kind": "file", "name": "/etc/sysctl.d/99-conntrack.conf:3", "value": "net.ipv4.netfilter.ip_conntrack_tcp_be_liberal = 1"}]
	startswith(r.fix, `sed -i 's/net\.ipv4\.netfilter\.ip_conntrack_/net.netfilter.nf_conntrack_/' /etc/sysctl.d/99-conntrack.conf`)
}

test_unread_rules_count_as_exposed if judge(with_file(fixture.blind, [dead])).severity == "high"

test_guarded_node_is_low if judge(with_file(fixture.guarded, [dead])).severity == "low"

test_right_key_live_is_low if {
	r := judge(with_file(fixture.liberal, [dead]))
	r.severity == "low"
	contains(r.message, "right key")
}

test_right_key_persisted_is_low if {
	node := fixture.patch(with_file(fixture.docker, [dead]), {"persisted": {"effective": {
		"net.netfilter.nf_conntrack_tcp_be_liberal": assignment("net.netfilter.nf_conntrack_tcp_be_liberal", "1"),
	}}})
	judge(node).severity == "low"
}

test_other_dead_key_is_low if {
	r := judge(with_file(fixture.docker, [assignment("net.ipv4.netfilter.ip_conntrack_max", "65536")]))
	r.severity == "low"
	contains(r.message, "ip_conntrack_max")
}

test_switched_off_is_low if {
	judge(with_file(fixture.docker, [assignment("net.ipv4.netfilter.ip_conntrack_tcp_be_liberal", "0")])).severity == "low"
}

test_live_key_passes if {
	judge(with_file(fixture.docker, [assignment("net.netfilter.nf_conntrack_tcp_be_liberal", "1")])).outcome == "pass"
}

test_no_file_passes if judge(fixture.docker).outcome == "pass"

test_unread_files_are_unknown if {
	judge(fixture.patch(fixture.docker, {"persisted": {"known": false, "why": "permission denied", "hint": "run as root"}})).outcome == "unknown"
}

script := {"file": "/etc/rc.local", "line": 7, "text": "echo 1 > /proc/sys/net/ipv4/netfilter/ip_conntrack_tcp_be_liberal", "dead": true}

with_script(base) := fixture.patch(base, {"persisted": {"mentions": [script]}})

test_boot_script_fails if {
	r := judge(with_script(fixture.docker))
	r.outcome == "fail"
	r.severity == "high"
	r.subject == "/etc/rc.local"
	r.evidence == [{"kind": "file", "name": "/etc/rc.local:7", "value": script.text}]
}

test_boot_script_beside_the_right_key_is_low if {
	r := judge(with_script(fixture.liberal))
	r.severity == "low"
	contains(r.message, "right key")
}

test_boot_script_on_a_guarded_node_is_low if judge(with_script(fixture.guarded)).severity == "low"

test_boot_script_with_the_living_key_passes if {
	living := object.union(script, {"dead": false})
	judge(fixture.patch(fixture.docker, {"persisted": {"mentions": [living]}})).outcome == "pass"
}

test_a_file_without_a_name_is_still_found if {
	judge(with_file(fixture.docker, [object.union(dead, {"file": ""})])).subject == "a file without a name"
}

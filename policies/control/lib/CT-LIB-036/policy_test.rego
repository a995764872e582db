package test.lib["CT-LIB-036"]

import data.control.lib["CT-LIB-036"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

set(key, value) := {"persisted": {"effective": {key: {
	"key": key,
	"value": value,
	"file": "/etc/sysctl.d/10-node.conf",
	"line": 1,
	"ignore": false,
	"dead": false,
}}}}

be_liberal := "net.netfilter.nf_conntrack_tcp_be_liberal"

late(key, value) := fixture.patch(fixture.patch(fixture.docker, set(key, value)), {"kernel": {"conntrackAtBoot": "late"}})

test_late_module_fails if {
	r := judge(late(be_liberal, "1"))
	r.outcome == "fail"
	r.severity == "high"
	r.subject == be_liberal
	contains(r.message, "the line does nothing")
	r.fix == "echo nf_conntrack > /etc/modules-load.d/conntrack.conf"
}

test_set_again_is_low if {
	r := judge(late(be_liberal, "0"))
	r.severity == "low"
	contains(r.message, "set again later")
}

test_absent_now_is_high if {
	node := fixture.patch(late(be_liberal, "1"), {"sysctl": {be_liberal: fixture.absent("")}})
	judge(node).severity == "high"
}

test_other_key_is_medium if judge(late("net.nf_conntrack_max", "1000000")).severity == "medium"

test_builtin_passes if judge(fixture.patch(fixture.docker, set(be_liberal, "1"))).outcome == "pass"

test_modules_load_passes if {
	node := fixture.patch(late(be_liberal, "1"), {"kernel": {
		"conntrackAtBoot": "modules-load",
		"conntrackAtBootFile": "/etc/modules-load.d/k8s.conf",
	}})
	r := judge(node)
	r.outcome == "pass"
	contains(r.message, "(/etc/modules-load.d/k8s.conf)")
}

test_modules_load_without_a_file_passes if {
	judge(fixture.patch(late(be_liberal, "1"), {"kernel": {"conntrackAtBoot": "modules-load"}})).outcome == "pass"
}

test_unknown_boot_is_unknown if {
	judge(fixture.patch(late(be_liberal, "1"), {"kernel": {"conntrackAtBoot": "unknown"}})).outcome == "unknown"
}

test_other_keys_are_not_applicable if judge(late("net.ipv4.ip_forward", "1")).outcome == "not-applicable"

test_unread_files_are_unknown if {
	judge(fixture.patch(fixture.docker, {"persisted": {"known": false}})).outcome == "unknown"
}

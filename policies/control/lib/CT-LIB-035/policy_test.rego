package test.lib["CT-LIB-035"]

import data.control.lib["CT-LIB-035"] as control
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

test_drift_fails if {
	r := judge(fixture.patch(fixture.docker, set(be_liberal, "1")))
	r.outcome == "fail"
	r.severity == "medium"
	r.subject == be_liberal
	r.message == "net.netfilter.nf_conntrack_tcp_be_liberal is 0, but /etc/sysctl.d/10-node.conf:1 sets it to 1."
	r.fix == "sysctl -p /etc/sysctl.d/10-node.conf"
}

test_kube_proxy_writes_some_itself if {
	judge(fixture.patch(fixture.kubernetes, set(be_liberal, "1"))).severity == "low"
}

test_other_keys_are_low if {
	node := fixture.patch(fixture.docker, {"sysctl": {"net.ipv4.ip_forward": fixture.known("1")}})
	judge(fixture.patch(node, set("net.ipv4.ip_forward", "0"))).severity == "low"
}

test_equal_passes if judge(fixture.patch(fixture.docker, set(be_liberal, " 0 "))).outcome == "pass"

test_buckets_are_rounded_up if {
	key := "net.netfilter.nf_conntrack_buckets"
	node := fixture.patch(fixture.docker, {"sysctl": {key: fixture.known("65536")}})
	judge(fixture.patch(node, set(key, "65000"))).outcome == "pass"
	judge(fixture.patch(node, set(key, "70000"))).outcome == "fail"
	judge(fixture.patch(node, set(key, "many"))).outcome == "fail"
}

test_unbacked_be_liberal_fails if {
	r := judge(fixture.liberal)
	r.outcome == "fail"
	r.severity == "medium"
	contains(r.message, "no file sets it")
}

test_nothing_set_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_absent_key_is_not_applicable if {
	node := fixture.patch(fixture.docker, {"sysctl": {be_liberal: fixture.absent("")}})
	judge(fixture.patch(node, set(be_liberal, "1"))).outcome == "not-applicable"
}

test_unread_key_is_unknown if {
	node := fixture.patch(fixture.docker, {"sysctl": {be_liberal: fixture.unread}})
	judge(fixture.patch(node, set(be_liberal, "1"))).outcome == "unknown"
}

test_key_left_out_is_unknown if {
	judge(fixture.patch(fixture.docker, set("net.netfilter.nf_conntrack_acct", "1"))).outcome == "unknown"
}

test_unread_files_are_unknown if {
	judge(fixture.patch(fixture.docker, {"persisted": {"known": false}})).outcome == "unknown"
}

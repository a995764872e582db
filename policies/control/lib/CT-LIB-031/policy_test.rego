package test.lib["CT-LIB-031"]

import data.control.lib["CT-LIB-031"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

full := fixture.patch(fixture.liberal, {"conntrack": {"count": fixture.known(700), "max": fixture.known(1000)}})

test_full_fails if {
	r := judge(full)
	r.outcome == "fail"
	contains(r.message, "70 % full and established entries live for 86400 s")
	r.fix == "sysctl -w net.netfilter.nf_conntrack_max=2000 net.netfilter.nf_conntrack_buckets=1000"
}

test_room_passes if judge(fixture.liberal).outcome == "pass"

test_short_timeout_passes if {
	key := "net.netfilter.nf_conntrack_tcp_timeout_established"
	judge(fixture.patch(full, {"sysctl": {key: fixture.known("7500")}})).outcome == "pass"
}

test_unlimited_passes if judge(fixture.patch(full, {"conntrack": {"max": fixture.known(0)}})).outcome == "pass"

test_strict_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_no_table_is_not_applicable if {
	judge(fixture.patch(full, {"conntrack": {"max": fixture.absent(0)}})).outcome == "not-applicable"
}

test_unread_count_is_unknown if {
	judge(fixture.patch(full, {"conntrack": {"count": fixture.unread}})).outcome == "unknown"
}

test_unread_timeout_is_unknown if {
	key := "net.netfilter.nf_conntrack_tcp_timeout_established"
	judge(fixture.patch(full, {"sysctl": {key: fixture.unread}})).outcome == "unknown"
}

test_unread_be_liberal_is_unknown if judge(fixture.patch(full, {"liberal": fixture.unread})).outcome == "unknown"

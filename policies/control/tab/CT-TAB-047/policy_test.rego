package test.tab["CT-TAB-047"]

import data.control.tab["CT-TAB-047"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

established := "net.netfilter.nf_conntrack_tcp_timeout_established"

close_wait := "net.netfilter.nf_conntrack_tcp_timeout_close_wait"

set(base, key, value) := fixture.patch(base, {"sysctl": {key: fixture.known(value)}})

result(node, key) := r if {
	rs := control.results with input as node
	some r in rs
	r.subject == key
}

test_default_of_the_kernel_is_low if {
	r := result(set(fixture.docker, established, "432000"), established)
	r.outcome == "fail"
	r.severity == "low"
	r.fix == "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=86400"
}

test_long_in_a_full_table_is_medium if {
	node := fixture.patch(set(fixture.docker, established, "432000"), {"conntrack": {"count": fixture.known(200000)}})
	result(node, established).severity == "medium"
}

test_long_without_nat_passes if result(set(fixture.bare, established, "432000"), established).outcome == "pass"

test_short_is_medium if result(set(fixture.docker, established, "600"), established).severity == "medium"

test_below_keepalive_is_low if {
	r := result(set(fixture.docker, established, "7200"), established)
	r.severity == "low"
	contains(r.message, "idles between keepalives")
}

test_long_close_wait_is_low if {
	r := result(set(fixture.docker, close_wait, "3601"), close_wait)
	r.severity == "low"
	r.fix == "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_close_wait=3600"
}

test_good_values_pass if of(fixture.docker) == {established: "pass", close_wait: "pass"}

test_idle_is_not_applicable if {
	of(fixture.patch(fixture.docker, {"conntrackUsed": fixture.known(false)}))[established] == "not-applicable"
}

test_absent_is_not_applicable if {
	of(fixture.patch(fixture.docker, {"sysctl": {established: fixture.absent("")}}))[established] == "not-applicable"
}

test_unread_is_unknown if {
	of(fixture.patch(fixture.docker, {"sysctl": {established: fixture.unread}}))[established] == "unknown"
}

test_nonsense_is_unknown if of(set(fixture.docker, established, "a day"))[established] == "unknown"

package test.tab["CT-TAB-043"]

import data.control.tab["CT-TAB-043"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

counted(sampled, n) := fixture.patch(fixture.docker, {"conntrack": {
	"sampled": sampled,
	"intervalSeconds": 10,
	"deltas": {"value": {"chaintoolong": n}},
}})

none(release) := json.remove(
	fixture.patch(fixture.docker, {"kernel": {"release": release}}),
	["/conntrack/deltas/value/chaintoolong"],
)

test_now_is_high if {
	r := judge(counted(true, 7))
	r.outcome == "fail"
	r.severity == "high"
	r.fix == "sysctl -w net.netfilter.nf_conntrack_buckets=262144"
}

test_since_boot_is_medium if judge(counted(false, 7)).severity == "medium"

test_no_fix_without_a_limit if judge(fixture.patch(counted(true, 7), {"conntrack": {"max": fixture.known(0)}})).fix == ""

test_zero_passes if judge(counted(true, 0)).outcome == "pass"

test_old_kernel_is_not_applicable if judge(none(fixture.known("5.10.0-28-amd64"))).outcome == "not-applicable"

test_new_kernel_without_it_is_unknown if judge(none(fixture.known("5.15.0"))).outcome == "unknown"

test_unknown_kernel_is_unknown if judge(none(fixture.unread)).outcome == "unknown"

test_odd_release_is_unknown if judge(none(fixture.known("custom"))).outcome == "unknown"

test_no_table_is_not_applicable if {
	judge(fixture.patch(fixture.docker, {"conntrack": {"max": fixture.absent(0)}})).outcome == "not-applicable"
}

test_unread_is_unknown if {
	judge(fixture.patch(fixture.docker, {"conntrack": {"deltas": fixture.unread}})).outcome == "unknown"
}

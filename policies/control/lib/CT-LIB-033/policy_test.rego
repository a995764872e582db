package test.lib["CT-LIB-033"]

import data.control.lib["CT-LIB-033"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

container(n, fact) := {"name": sprintf("docker %012d", [n]), "liberal": fact, "connected": true}

inside := {"containers": [container(1, fixture.known(1)), container(2, fixture.known(0))]}

test_inside_only_fails if {
	of(fixture.patch(fixture.docker, inside)) == {"container docker 000000000001": "fail"}
}

test_fix_is_for_the_node if {
	r := judge(fixture.patch(fixture.docker, inside))
	r.fix == "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1"
	contains(r.message, "there it is 0")
}

test_guarded_node_passes if judge(fixture.patch(fixture.guarded, inside)).outcome == "pass"

test_liberal_node_passes if judge(fixture.patch(fixture.liberal, inside)).outcome == "pass"

test_no_snat_is_not_applicable if judge(fixture.patch(fixture.bare, inside)).outcome == "not-applicable"

test_no_uplink_is_not_applicable if {
	judge(fixture.patch(fixture.patch(fixture.docker, inside), {"exposure": []})).outcome == "not-applicable"
}

test_undecided_is_unknown if judge(fixture.patch(fixture.blind, inside)).outcome == "unknown"

test_unread_rules_without_uplinks_are_unknown if {
	judge(fixture.patch(fixture.patch(fixture.blind, inside), {"exposure": []})).outcome == "unknown"
}

test_none_sets_it_passes if {
	judge(fixture.patch(fixture.docker, {"containers": [container(1, fixture.known(0))]})).outcome == "pass"
}

test_unread_container_is_unknown if {
	r := judge(fixture.patch(fixture.docker, {"containers": [container(1, fixture.unread)]}))
	r.outcome == "unknown"
	r.subject == "node"
}

test_unread_container_on_a_guarded_node_passes if {
	judge(fixture.patch(fixture.guarded, {"containers": [container(1, fixture.unread)]})).outcome == "pass"
}

test_no_containers_are_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_namespaces_are_unknown if {
	m := {"collector": "topology", "what": "network namespaces of processes", "why": "permission denied", "hint": "run as root"}
	judge(fixture.patch(fixture.docker, {"missing": [m]})).outcome == "unknown"
}

package test.rst["CT-RST-003"]

import data.control.rst["CT-RST-003"] as control
import data.fixture

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

four(node) := r if {
	some r in control.results with input as node
	r.subject == "ipv4 services"
}

test_exposed_fails_once_for_all_interfaces if {
	r := four(fixture.service_exposed)
	r.outcome == "fail"
	contains(r.message, "by cni0, veth1")
	r.fix == "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1"
}

test_many_interfaces_are_counted if {
	es := [fixture.exposure("B", "ip", sprintf("veth%d", [n])) | some n in numbers.range(1, 9)]
	r := four(fixture.patch(fixture.service_exposed, {"exposure": es}))
	contains(r.message, "veth1, veth2, veth3, veth4, veth5 and 4 more")
}

test_protected_by_kube_forward_passes if {
	of(fixture.kubernetes) == {"ipv4 services": "pass", "ipv6 services": "not-applicable"}
}

test_liberal_passes if {
	of(fixture.patch(fixture.service_exposed, {"liberal": fixture.known(1)}))["ipv4 services"] == "pass"
}

test_no_proxy_is_not_applicable if {
	r := four(fixture.docker)
	r.outcome == "not-applicable"
	contains(r.message, "no Service proxy")
}

test_no_service_is_not_applicable if {
	r := four(fixture.patch(fixture.kubernetes, {"services": {"ip": fixture.known(false)}}))
	r.outcome == "not-applicable"
	contains(r.message, "has no IPv4 Service rule")
}

test_ipvs_needs_no_rules if {
	node := fixture.patch(fixture.service_exposed, {
		"serviceProxy": fixture.known("kube-proxy-ipvs"),
		"dnat": {"ip": fixture.unread},
	})
	of(node)["ipv4 services"] == "fail"
}

test_no_forwarding_is_not_applicable if {
	of(fixture.patch(fixture.service_exposed, {"forwarding": {"ip": fixture.known(false)}}))["ipv4 services"] == "not-applicable"
}

test_idle_is_not_applicable if {
	of(fixture.patch(fixture.service_exposed, {"conntrackUsed": fixture.known(false)}))["ipv4 services"] == "not-applicable"
}

test_no_interface_is_not_applicable if {
	of(fixture.patch(fixture.service_exposed, {"exposure": []}))["ipv4 services"] == "not-applicable"
}

test_unread_links_are_unknown if {
	node := fixture.patch(fixture.service_exposed, {
		"exposure": [],
		"missing": [{"collector": "topology", "what": "links", "why": "permission denied", "hint": "run as root"}],
	})
	of(node)["ipv4 services"] == "unknown"
}

test_unread_proxy_is_unknown if {
	of(fixture.patch(fixture.service_exposed, {"serviceProxy": fixture.unread}))["ipv4 services"] == "unknown"
}

test_unread_rules_are_unknown if {
	node := fixture.patch(fixture.service_exposed, {"services": {"ip": fixture.unread}})
	of(node)["ipv4 services"] == "unknown"
}

test_undecided_is_unknown if {
	e := fixture.patch(fixture.undecided, {"question": "B", "interface": "cni0"})
	of(fixture.patch(fixture.service_exposed, {"exposure": [e]}))["ipv4 services"] == "unknown"
}

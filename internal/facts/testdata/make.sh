#!/bin/bash
# Writes the snapshots beside it: each shape is built in network, process and mount namespaces of its own, and read there by
# ctaudit collect. Run as root: CTAUDIT=path/to/ctaudit ./make.sh [SHAPE...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
saved=$here/../../collect/iptables/testdata/saved

uplink() { # NAME ADDRESS GATEWAY [ADDRESS6 GATEWAY6]: a veth whose other end is the provider's
	ip link add "$1" type veth peer name peer netns provider
	ip -n provider link set peer name "p-$1" up
	ip link set "$1" up
	ip addr add "$2" dev "$1"
	[ -z "${3:-}" ] || ip route add default via "$3" dev "$1"
	[ -z "${4:-}" ] || ip -6 addr add "$4" dev "$1" nodad
	[ -z "${5:-}" ] || ip -6 route add default via "$5" dev "$1"
}

pod() { # LINK: a veth into a network namespace with a process
	unshare -n sleep 600 &
	local pid=$!
	while [ "$(readlink /proc/$pid/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
	ip link add "$1" type veth peer name eth0 netns $pid
	ip link set "$1" up
}

bridge() { # NAME ADDRESS [PORT...]
	ip link add "$1" type bridge
	ip link set "$1" up
	ip addr add "$2" dev "$1"
	local name=$1
	shift 2
	for port; do pod "$port"; ip link set "$port" master "$name"; done
}

node() { # what every shape has
	ip link set lo up
	sysctl -qw net.ipv4.ip_forward=1
	ip netns add provider
}

docker_plain() {
	uplink eth0 192.0.2.10/24 192.0.2.1
	bridge docker0 172.17.0.1/16 veth1a2b3c4
	iptables-nft-restore <<-X
	*filter
	:FORWARD DROP
	:DOCKER -
	:DOCKER-USER -
	-A FORWARD -j DOCKER-USER
	-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	-A FORWARD -o docker0 -j DOCKER
	-A FORWARD -i docker0 -j ACCEPT
	-A DOCKER-USER -j RETURN
	COMMIT
	*nat
	:DOCKER -
	-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
	-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
	-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
	-A DOCKER -i docker0 -j RETURN
	COMMIT
	X
}

docker_published() {
	uplink eth0 192.0.2.10/24 192.0.2.1
	bridge docker0 172.17.0.1/16 veth1a2b3c4
	bridge br-3f1c2a9d77e0 172.18.0.1/16 veth5d6e7f8
	iptables-legacy-restore <"$saved/docker.ip.iptables-legacy.save"
}

kube_node() { # NAME OF THE BRIDGE
	uplink eth0 192.0.2.10/24 192.0.2.1
	bridge "$1" 10.244.1.1/24 veth0a veth0b
}

kubeproxy_iptables() { # with flannel: vxlan and its own masquerading
	kube_node cni0
	flannel_link
	iptables-nft-restore <<<"$KUBEPROXY"
	flannel_rules
}

flannel_link() {
	ip link add flannel.1 type vxlan id 1 local 192.0.2.10 dev eth0 dstport 8472 nolearning
	ip link set flannel.1 up
	ip addr add 10.244.1.0/32 dev flannel.1
	ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
}

flannel_rules() {
	iptables-nft-restore -n <<-X
	*nat
	:FLANNEL-POSTRTG -
	-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
	-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
	-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
	-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN
	-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN
	-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
	-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
	COMMIT
	X
}

kubeproxy_nftables() { # the tables of pkg/proxy/nftables, Kubernetes 1.33
	kube_node cni0
	nft -f - <<-X
	table ip kube-proxy {
		comment "rules for kube-proxy"
		set cluster-ips { type ipv4_addr; comment "Active ClusterIPs"; elements = { 10.96.0.1, 10.96.0.10 } }
		set nodeport-ips { type ipv4_addr; comment "IPs that accept NodePort traffic"; elements = { 192.0.2.10 } }
		map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
		map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
		map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
		map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
		map service-nodeports { type inet_proto . inet_service : verdict; }
		chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
		chain nat-output { type nat hook output priority -100; jump services; }
		chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
		chain filter-prerouting-pre-dnat { type filter hook prerouting priority -110; ct state new jump firewall-check; }
		chain filter-input { type filter hook input priority -110; ct state new jump nodeport-endpoints-check; ct state new jump service-endpoints-check; }
		chain filter-forward { type filter hook forward priority -110; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }
		chain filter-output { type filter hook output priority -110; ct state new jump service-endpoints-check; ct state new jump firewall-check; }
		chain filter-output-post-dnat { type filter hook output priority -90; ct state new jump cluster-ips-check; }
		chain masquerading { meta mark & 0x4000 == 0 return; meta mark set meta mark ^ 0x4000; masquerade fully-random; }
		chain cluster-ips-check { ip daddr @cluster-ips reject; ip daddr 10.96.0.0/16 drop; }
		chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
		chain mark-for-masquerade { meta mark set meta mark | 0x4000; }
		chain nodeport-endpoints-check { ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }
		chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
		chain services { ip daddr . meta l4proto . th dport vmap @service-ips; ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports; }
		chain endpoint-2LHYRSAL-kube-dns__10.244.1.2/53 { ip saddr 10.244.1.2 jump mark-for-masquerade; meta l4proto tcp dnat to 10.244.1.2:53; }
		chain endpoint-5OJB2KTY-web__10.244.2.7/80 { ip saddr 10.244.2.7 jump mark-for-masquerade; meta l4proto tcp dnat to 10.244.2.7:80; }
		chain service-NWBZK7IH-kube-system/kube-dns/tcp/dns-tcp {
			ip daddr 10.96.0.10 tcp dport 53 ip saddr != 10.244.0.0/16 jump mark-for-masquerade
			numgen random mod 1 vmap { 0 : goto endpoint-2LHYRSAL-kube-dns__10.244.1.2/53 }
		}
		chain service-6BXTDQKA-default/web/tcp/http { numgen random mod 1 vmap { 0 : goto endpoint-5OJB2KTY-web__10.244.2.7/80 }; }
		chain external-6BXTDQKA-default/web/tcp/http { jump mark-for-masquerade; goto service-6BXTDQKA-default/web/tcp/http; }
	}
	add element ip kube-proxy service-ips { 10.96.0.10 . tcp . 53 : goto service-NWBZK7IH-kube-system/kube-dns/tcp/dns-tcp }
	add element ip kube-proxy service-nodeports { tcp . 30080 : goto external-6BXTDQKA-default/web/tcp/http }
	X
	cni_masquerade
}

cni_masquerade() { # what the bridge plugin's ipMasq writes for a pod
	iptables-nft-restore -n <<-X
	*nat
	:CNI-8c2a7ef1b0a94a4ed1d2f1b6 -
	-A POSTROUTING -s 10.244.1.2/32 -m comment --comment "name: \"cbr0\" id: \"8c2a\"" -j CNI-8c2a7ef1b0a94a4ed1d2f1b6
	-A CNI-8c2a7ef1b0a94a4ed1d2f1b6 -d 10.244.1.0/24 -m comment --comment "name: \"cbr0\" id: \"8c2a\"" -j ACCEPT
	-A CNI-8c2a7ef1b0a94a4ed1d2f1b6 ! -d 224.0.0.0/4 -m comment --comment "name: \"cbr0\" id: \"8c2a\"" -j MASQUERADE
	COMMIT
	X
}

kubeproxy_ipvs() { # a mark, ipsets and a dummy with the Services' addresses
	kube_node cni0
	ip link add kube-ipvs0 type dummy 2>/dev/null || ip link add kube-ipvs0 type bridge # a kernel without dummies; see below
	ip addr add 10.96.0.1/32 dev kube-ipvs0
	ip addr add 10.96.0.10/32 dev kube-ipvs0
	iptables-nft-restore <<-X
	*nat
	:KUBE-SERVICES -
	:KUBE-POSTROUTING -
	:KUBE-MARK-MASQ -
	:KUBE-LOAD-BALANCER -
	:KUBE-NODE-PORT -
	-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
	-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
	-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
	-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
	-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
	-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
	-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
	-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
	-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
	COMMIT
	X
}

calico() { # veths without addresses, a /32 route a pod, and an IP-in-IP tunnel where the kernel has it
	uplink eth0 192.0.2.10/24 192.0.2.1
	for i in 1 2; do
		pod "cali1a2b3c4d5e$i"
		ip route add "10.65.0.$i/32" dev "cali1a2b3c4d5e$i" scope link
		sysctl -qw "net.ipv4.conf.cali1a2b3c4d5e$i.proxy_arp=1"
	done
	ip route add blackhole 10.65.0.0/26
	ip link add vxlan.calico type vxlan id 4096 local 192.0.2.10 dev eth0 dstport 4789 nolearning
	ip link set vxlan.calico up
	ip addr add 10.65.0.0/32 dev vxlan.calico
	sed -e 's/cali1a2b3c4d5e6/cali1a2b3c4d5e1/g' "$saved/calico.ip.iptables-nft.save" | iptables-nft-restore
	iptables-nft-restore -n <<-X
	*nat
	:cali-POSTROUTING -
	:cali-nat-outgoing -
	:KUBE-SERVICES -
	:KUBE-SVC-NPX46M4PTMTKRN6Y -
	:KUBE-SEP-6E7XQMQ4RAYOWTTM -
	-A POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING
	-A cali-POSTROUTING -m comment --comment "cali:Z-c7XtVd2Bq7s_hA" -j cali-nat-outgoing
	-A cali-nat-outgoing -s 10.65.0.0/16 -m comment --comment "cali:flqWnvo8yq4ULQLa" -j MASQUERADE --random-fully
	-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
	-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y
	-A KUBE-SVC-NPX46M4PTMTKRN6Y -m comment --comment "default/kubernetes:https -> 192.0.2.20:6443" -j KUBE-SEP-6E7XQMQ4RAYOWTTM
	-A KUBE-SEP-6E7XQMQ4RAYOWTTM -p tcp -m comment --comment "default/kubernetes:https" -m tcp -j DNAT --to-destination 192.0.2.20:6443
	COMMIT
	X
}

podman() { # netavark's own table, 1.10
	uplink eth0 192.0.2.10/24 192.0.2.1
	bridge podman0 10.88.0.1/16 veth0
	nft -f - <<-X
	table inet netavark {
		chain INPUT { type filter hook input priority filter; policy accept; ip saddr 10.88.0.0/16 udp dport 53 accept; }
		chain FORWARD { type filter hook forward priority filter; policy accept
			ct state invalid drop
			jump NETAVARK-ISOLATION-1
			ip daddr 10.88.0.0/16 ct state established,related accept
			ip saddr 10.88.0.0/16 accept
		}
		chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept
			meta mark & 0x00002000 == 0x00002000 masquerade
			ip saddr 10.88.0.0/16 jump nv_2f259bab_10_88_0_0_nm16
		}
		chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump NETAVARK-HOSTPORT-DNAT; }
		chain OUTPUT { type nat hook output priority -100; policy accept; fib daddr type local jump NETAVARK-HOSTPORT-DNAT; }
		chain NETAVARK-HOSTPORT-DNAT { tcp dport 8080 jump nv_2f259bab_10_88_0_0_nm16_dnat; }
		chain NETAVARK-HOSTPORT-SETMARK { meta mark set meta mark | 0x00002000; }
		chain NETAVARK-ISOLATION-1 { }
		chain nv_2f259bab_10_88_0_0_nm16 { ip daddr 10.88.0.0/16 accept; ip daddr != 224.0.0.0/4 masquerade; }
		chain nv_2f259bab_10_88_0_0_nm16_dnat { ip saddr 10.88.0.0/16 jump NETAVARK-HOSTPORT-SETMARK; tcp dport 8080 dnat ip to 10.88.0.2:80; }
	}
	X
}

firewalld() { # its nftables backend, reduced to what decides, beside Docker's bridge
	uplink eth0 192.0.2.10/24 192.0.2.1 2001:db8:1::10/64 2001:db8:1::1
	bridge docker0 172.17.0.1/16 veth1a2b3c4
	sysctl -qw net.ipv6.conf.all.forwarding=1
	nft -f - <<-X
	table inet firewalld {
		chain filter_INPUT { type filter hook input priority filter + 10; policy accept
			ct state { established, related } accept
			ct status dnat accept
			iifname "lo" accept
			ct state invalid drop
			jump filter_INPUT_ZONES
			reject with icmpx admin-prohibited
		}
		chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept
			ct state { established, related } accept
			ct status dnat accept
			iifname "lo" accept
			ct state invalid drop
			reject with icmpx admin-prohibited
		}
		chain filter_INPUT_ZONES { iifname "eth0" goto filter_IN_public; goto filter_IN_public; }
		chain filter_IN_public { tcp dport 22 accept; }
		chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; policy accept; jump nat_POSTROUTING_ZONES; }
		chain nat_POSTROUTING_ZONES { oifname "eth0" goto nat_POST_public; goto nat_POST_public; }
		chain nat_POST_public { meta nfproto ipv4 oifname != "lo" masquerade; }
	}
	X
}

ufw() {
	docker_published
	iptables-nft-restore <"$saved/ufw.ip.iptables-nft.save"
	ip6tables-nft-restore <"$saved/ufw.ip6.iptables-nft.save"
}

router() { # by hand: two uplinks, one LAN, and a drop for one uplink
	uplink wan0 198.51.100.2/30 198.51.100.1
	uplink wan1 203.0.113.2/30
	ip route add default via 203.0.113.1 dev wan1 table 100
	ip rule add fwmark 1 lookup 100
	uplink lan0 10.0.0.1/24
	nft -f - <<-X
	table inet router {
		chain in { type filter hook input priority 0; policy accept; iifname "wan0" ct state invalid drop; }
		chain post { type nat hook postrouting priority 100; oifname { "wan0", "wan1" } masquerade; }
	}
	X
}

dualstack() { # Docker with ip6tables: both families masqueraded, IPv4 alone guarded
	docker_plain
	ip -6 addr add 2001:db8:1::10/64 dev eth0 nodad
	ip -6 route add default via 2001:db8:1::1 dev eth0
	ip -6 addr add fd00:17::1/64 dev docker0 nodad
	sysctl -qw net.ipv6.conf.all.forwarding=1
	ip6tables-nft -t nat -A POSTROUTING -s fd00:17::/64 ! -o docker0 -j MASQUERADE
	iptables-nft -I INPUT -m conntrack --ctstate INVALID -j DROP
}

bare() { uplink eth0 192.0.2.10/24 192.0.2.1; }

shapes=(docker_plain docker_published kubeproxy_iptables kubeproxy_nftables kubeproxy_ipvs calico podman firewalld ufw router dualstack bare)

if [ "${1:-}" = --inside ]; then
	mount -t tmpfs tmpfs /run
	node
	"$2"
	sleep 0.3 # until the links' addresses have settled
	"$CTAUDIT" collect --host-name "${2//_/-}" -q -O "$here/${2//_/-}.json"
	sed -i '/"name": "kube-ipvs0"/s/"kind": "bridge"/"kind": "dummy"/' "$here/${2//_/-}.json"
	exit
fi
[ $# -gt 0 ] || set -- "${shapes[@]}"
for shape; do
	CTAUDIT=$CTAUDIT KUBEPROXY=${KUBEPROXY:-} unshare --net --pid --fork --mount --mount-proc --kill-child "$0" --inside "$shape"
done

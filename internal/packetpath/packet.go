package packetpath

import (
	"fmt"
	"net/netip"
)

// String is the packet as a person reads it: "in eth0 203.0.113.9:443 > 198.51.100.1:31000 ack".
func (p Packet) String() string {
	way := "in " + p.In
	if p.Out != "" {
		way += " out " + p.Out
	}
	return fmt.Sprintf("%s %s > %s %s", way, netip.AddrPortFrom(p.Src, p.Sport), netip.AddrPortFrom(p.Dst, p.Dport), p.Flags)
}

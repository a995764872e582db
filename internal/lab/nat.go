package lab

import (
	"errors"
	"fmt"
)

// NAT is the bug's scene: a client (the container) behind a router (the node), which masquerades what leaves by its uplink,
// and a server outside that knows the router's uplink network alone.
//
//	client c0 -- veth-c ROUTER up0 -- s0 server
//
// The addresses are the constants below; the router forwards both families and masquerades nothing until told: see
// [Netns.Masquerade].
type NAT struct{ Client, Router, Server *Netns }

// The scene's interfaces and addresses.
const (
	ClientLink = "c0"
	BridgeLink = "veth-c" // the router's, facing the client
	UplinkLink = "up0"
	ServerLink = "s0"

	ClientAddress  = "10.77.0.2"
	ClientAddress6 = "fd77::2"
	RouterInside   = "10.77.0.1"
	RouterInside6  = "fd77::1"
	RouterAddress  = "198.51.100.1"
	RouterAddress6 = "2001:db8:1::1"
	ServerAddress  = "198.51.100.2"
	ServerAddress6 = "2001:db8:1::2"
)

// NewNAT builds the scene. It needs root.
func NewNAT() (*NAT, error) {
	s := &NAT{}
	if err := s.build(); err != nil {
		s.Close()
		return nil, fmt.Errorf("nat scene: %w", err)
	}
	return s, nil
}

// Close takes it down.
func (s *NAT) Close() {
	for _, n := range []*Netns{s.Client, s.Router, s.Server} {
		if n != nil {
			n.Close()
		}
	}
}

func (s *NAT) build() (err error) {
	for _, n := range []**Netns{&s.Client, &s.Router, &s.Server} {
		if *n, err = New(); err != nil {
			return err
		}
	}
	err = Veth(
		End{s.Client, ClientLink, []string{ClientAddress + "/24", ClientAddress6 + "/64"}},
		End{s.Router, BridgeLink, []string{RouterInside + "/24", RouterInside6 + "/64"}})
	if err != nil {
		return err
	}
	err = Veth(
		End{s.Router, UplinkLink, []string{RouterAddress + "/24", RouterAddress6 + "/64"}},
		End{s.Server, ServerLink, []string{ServerAddress + "/24", ServerAddress6 + "/64"}})
	if err != nil {
		return err
	}
	return errors.Join(
		s.Router.Sysctl("net.ipv4.ip_forward", "1"),
		s.Router.Sysctl("net.ipv6.conf.all.forwarding", "1"),
		s.Client.Route("default", RouterInside),
		s.Client.Route("::/0", RouterInside6),
		s.Router.Route("default", ServerAddress),
		s.Router.Route("::/0", ServerAddress6),
	)
}

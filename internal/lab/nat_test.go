package lab_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// The server must see the router's address, and bytes must come back to the client.
func TestMasqueradeCarriesConnections(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy")
	for _, backend := range []netfilter.Backend{netfilter.Legacy, netfilter.IPTablesNFT, netfilter.NFTables} {
		t.Run(string(backend), func(t *testing.T) {
			scene, err := lab.NewNAT()
			if err != nil {
				t.Fatal(err)
			}
			defer scene.Close()
			if err := masquerade(scene.Router, backend); err != nil {
				t.Fatal(err)
			}
			for server, router := range map[string]string{
				lab.ServerAddress: lab.RouterAddress, lab.ServerAddress6: lab.RouterAddress6,
			} {
				if got := echo(t, scene, server); got != router {
					t.Errorf("the server saw %s, want %s", got, router)
				}
			}
		})
	}
}

// masquerade makes the router masquerade what the client sends out, in the backend's own words.
func masquerade(router *lab.Netns, backend netfilter.Backend) error {
	if backend == netfilter.NFTables {
		return router.Load(backend, "", `table inet lab {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.77.0.0/24 oifname "up0" masquerade
		ip6 saddr fd77::/64 oifname "up0" masquerade
	}
}
`)
	}
	const document = "*nat\n-A POSTROUTING -s %s -o up0 -j MASQUERADE\nCOMMIT\n"
	return errors.Join(
		router.Load(backend, netfilter.IP, fmt.Sprintf(document, "10.77.0.0/24")),
		router.Load(backend, netfilter.IP6, fmt.Sprintf(document, "fd77::/64")),
	)
}

// echo opens a connection from the client to the server, which answers with the address that it saw.
func echo(t *testing.T, scene *lab.NAT, server string) string {
	t.Helper()
	var listener net.Listener
	err := scene.Server.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(server, "0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, netip.MustParseAddrPort(c.RemoteAddr().String()).Addr().String())
	}()
	var answer []byte
	err = scene.Client.Do(func() error {
		c, err := net.DialTimeout("tcp", listener.Addr().String(), 3*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
			return err
		}
		answer, err = io.ReadAll(c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

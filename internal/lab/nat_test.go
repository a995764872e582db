package lab_test

import (
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
			if err := scene.Masquerade(backend); err != nil {
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

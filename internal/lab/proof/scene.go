package proof

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/lab"
)

// Unavailable is why the proof cannot be run here.
type Unavailable struct {
	What string // what is missing
	Hint string // what to do about it
	Err  error
}

func (u *Unavailable) Error() string { return u.What + ": " + u.Err.Error() }
func (u *Unavailable) Unwrap() error { return u.Err }

// scene is the three namespaces, wired and with NAT, and the sockets on their wires.
type scene struct {
	question string
	nat      *lab.NAT
	port     lab.Port  // the server's end of the uplink, and the router behind it
	tap      *lab.Wire // both directions of the client's interface
}

func newScene(question string) (*scene, error) {
	nat, err := lab.NewNAT()
	if err != nil {
		return nil, &Unavailable{"network namespaces with veth pairs", "run it as root, or where the kernel lets users make namespaces: unshare -rn ctaudit prove", err}
	}
	s := &scene{question: question, nat: nat}
	for _, step := range []func() error{s.translate, s.steady, s.silence, s.neighbours, s.wires, s.warm} {
		if err := step(); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *scene) close() {
	for _, w := range []*lab.Wire{s.port.Wire, s.tap} {
		if w != nil {
			w.Close()
		}
	}
	s.nat.Close()
}

// translate sets the question's NAT up, which also makes the namespace track connections.
func (s *scene) translate() error {
	nat := func() error { return s.nat.Router.Masquerade(lab.UplinkLink) }
	if s.question == QuestionB {
		nat = s.service
	}
	if err := nat(); err != nil {
		return &Unavailable{"NAT by nf_tables", "the kernel needs nf_tables with nft_chain_nat, nft_masq, nft_nat and nft_ct", err}
	}
	_, err := s.invalid()
	if errors.Is(err, fs.ErrNotExist) {
		return &Unavailable{"no connection tracking", "the kernel needs nf_conntrack with its /proc files", err}
	}
	return err
}

// steady makes the client fill the window at once (net/ipv4/tcp_output.c, tcp_tso_should_defer, keeps a part back while an ACK
// is due), and lets no connection inherit what another one learned of the path.
func (s *scene) steady() error {
	return errors.Join(
		s.nat.Client.Sysctl("net.ipv4.tcp_tso_win_divisor", "255"),
		s.nat.Client.Sysctl("net.ipv4.tcp_no_metrics_save", "1"),
	)
}

// silence keeps the server's own stack out of it: it would answer for the peer.
func (s *scene) silence() error {
	conn, err := nftables.New(nftables.WithNetNSFd(s.nat.Server.FD()))
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "silence"})
	chain := conn.AddChain(&nftables.Chain{
		Name: "prerouting", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	return conn.Flush()
}

// neighbours are pinned, so that no question about one comes between.
func (s *scene) neighbours() error {
	ends := []struct {
		ns      *lab.Netns
		link    string
		address []string
		other   *lab.Netns
		far     string
	}{
		{s.nat.Client, lab.ClientLink, []string{lab.RouterInside, lab.RouterInside6}, s.nat.Router, lab.BridgeLink},
		{s.nat.Router, lab.BridgeLink, []string{lab.ClientAddress, lab.ClientAddress6}, s.nat.Client, lab.ClientLink},
		{s.nat.Router, lab.UplinkLink, []string{lab.ServerAddress, lab.ServerAddress6}, s.nat.Server, lab.ServerLink},
	}
	for _, e := range ends {
		hardware, _, err := e.other.Hardware(e.far)
		if err != nil {
			return err
		}
		for _, address := range e.address {
			if err := e.ns.Neighbour(e.link, netip.MustParseAddr(address), hardware); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *scene) wires() (err error) {
	unavailable := func(err error) error {
		return &Unavailable{"AF_PACKET sockets", "the kernel needs packet sockets, and the user CAP_NET_RAW", err}
	}
	if s.port.Wire, err = s.nat.Server.OpenWire(lab.ServerLink); err != nil {
		return unavailable(err)
	}
	if s.tap, err = s.nat.Client.OpenTap(lab.ClientLink); err != nil {
		return unavailable(err)
	}
	s.port.Address, s.port.Self = netip.MustParseAddr(lab.RouterAddress), netip.MustParseAddr(lab.ServerAddress)
	s.port.Hardware, _, err = s.nat.Router.Hardware(lab.UplinkLink)
	return err
}

// warm makes connections until one of each family comes about: IPv6 takes a moment after its links are up.
func (s *scene) warm() error {
	for _, family := range []string{IPv4, IPv6} {
		deadline := time.Now().Add(5 * time.Second)
		for pause := 20 * time.Millisecond; ; pause *= 2 {
			f := newFlow(s, family, false)
			f.patience = pause
			err := f.establish()
			if err == nil {
				f.finish()
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("no connection over %s: %w", family, err)
			}
		}
	}
	return nil
}

// The Service of question B.
const (
	serviceAddress  = "10.96.0.10"
	serviceAddress6 = "fd96::10"
	servicePort     = 80
	podPort         = 8080
)

// service translates the Service's address and port to the server's, in both families.
func (s *scene) service() error {
	conn, err := nftables.New(nftables.WithNetNSFd(s.nat.Router.FD()))
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	for _, f := range []struct {
		table         nftables.TableFamily
		address, pod  string
		offset, width uint32 // of the destination address in the header
		protocol      byte
	}{
		{nftables.TableFamilyIPv4, serviceAddress, lab.ServerAddress, 16, 4, unix.NFPROTO_IPV4},
		{nftables.TableFamilyIPv6, serviceAddress6, lab.ServerAddress6, 24, 16, unix.NFPROTO_IPV6},
	} {
		table := conn.AddTable(&nftables.Table{Family: f.table, Name: "service"})
		chain := conn.AddChain(&nftables.Chain{
			Name: "prerouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
		})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: f.width},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: netip.MustParseAddr(f.address).AsSlice()},
			&expr.Immediate{Register: 1, Data: netip.MustParseAddr(f.pod).AsSlice()},
			&expr.Immediate{Register: 2, Data: []byte{podPort >> 8, podPort & 0xff}},
			&expr.NAT{
				Type: expr.NATTypeDestNAT, Family: uint32(f.protocol), RegAddrMin: 1, RegProtoMin: 2,
			},
		}})
	}
	return conn.Flush()
}

// invalid reads the router's counter of INVALID packets, the sum over all CPUs.
func (s *scene) invalid() (n uint64, err error) {
	err = s.nat.Router.Do(func() error {
		file, err := os.Open("/proc/thread-self/net/stat/nf_conntrack")
		if err != nil {
			return err
		}
		defer file.Close()
		n, err = parseInvalid(file)
		return err
	})
	return n, err
}

// parseInvalid sums the column "invalid" of /proc/net/stat/nf_conntrack: a line of names, which differ between kernels, then
// a line of hexadecimal numbers for each CPU. Source: net/netfilter/nf_conntrack_standalone.c, ct_cpu_seq_show, 5.10 to 6.18.
func parseInvalid(r io.Reader) (sum uint64, err error) {
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		return 0, errors.Join(lines.Err(), errors.New("nf_conntrack statistics: empty"))
	}
	column := slices.Index(strings.Fields(lines.Text()), "invalid")
	if column < 0 {
		return 0, errors.New(`nf_conntrack statistics: no column "invalid"`)
	}
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if column >= len(fields) {
			return 0, errors.New("nf_conntrack statistics: short line")
		}
		n, err := strconv.ParseUint(fields[column], 16, 64)
		if err != nil {
			return 0, fmt.Errorf("nf_conntrack statistics: %w", err)
		}
		sum += n
	}
	return sum, lines.Err()
}

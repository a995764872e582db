package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// modules answers whether a kernel module is there, so that nobody has to ask the kernel in a way that would load it.
//
// Two questions load modules (Linux 6.18): opening a netlink socket of a protocol that nobody registered
// (net/netlink/af_netlink.c netlink_create, "net-pf-16-proto-12" is nfnetlink), and a message to an nfnetlink subsystem
// that nobody registered (net/netfilter/nfnetlink.c nfnetlink_rcv_msg, "nfnetlink-subsys-10" is nf_tables). Neither can
// be told not to. So the module is looked for first, in places that only report:
//
//   - a kernel that cannot load modules (built without them, forbidden for good by kernel.modules_disabled, or with an
//     empty kernel.modprobe) may be asked freely;
//   - /sys/module/NAME exists for every loaded module;
//   - modules.builtin of the running release lists those built in;
//   - /proc/kallsyms has their symbols, also where /lib/modules is out of sight, as in a container.
//
// Without any of these the answer is an error, and the question is not asked.
type modules struct {
	root string // "/"; tests have their own
	mu   sync.Mutex
	seen map[string]moduleState
	// symbols says of each module whether kallsyms has its symbols, once that was read: 10 MB of text, 40 ms.
	symbols map[string]bool
}

// moduleState is what is known about a module.
type moduleState struct {
	there bool
	askIt bool // not looked for: asking the kernel cannot load it
	err   error
}

// symbolOf names, for each module that needs ask for, the beginning of symbols that it has in every build: its exported
// functions, or callbacks whose address it takes, which no compiler can inline away.
func symbolOf(module string) string {
	switch module {
	case "nfnetlink":
		return "nfnetlink_subsys_register"
	case "nf_tables":
		return "nft_register_expr"
	case "nft_compat":
		return "nfnl_compat_"
	case "nf_conntrack_netlink":
		return "ctnetlink_"
	case "nfnetlink_hook":
		return "nfnl_hook_"
	}
	return ""
}

func newModules(root string) *modules { return &modules{root: root, seen: map[string]moduleState{}} }

func (m *modules) state(name string) moduleState {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.seen[name]
	if !ok {
		s = m.look(name)
		m.seen[name] = s
	}
	return s
}

func (m *modules) look(name string) moduleState {
	if _, err := os.Stat(m.root + "sys/module/" + name); err == nil {
		return moduleState{there: true}
	}
	if m.frozen() {
		return moduleState{there: true, askIt: true}
	}
	if there, err := m.builtin(name); err == nil {
		return moduleState{there: there}
	}
	there, err := m.symbol(name)
	if err != nil {
		err = fmt.Errorf("cannot tell whether the kernel module %s is loaded without loading it: /proc/kallsyms, /proc/modules and "+
			"/lib/modules are %s or unreadable: %w", name, Hidden, err)
	}
	return moduleState{there: there, err: err}
}

// frozen says that this kernel loads no module on demand. /proc/modules and kernel.modprobe exist only in kernels built
// with modules; an empty kernel.modprobe makes request_module return at once (kernel/module/kmod.c).
func (m *modules) frozen() bool {
	_, errList := os.Stat(m.root + "proc/modules")
	helper, errHelper := os.ReadFile(m.root + "proc/sys/kernel/modprobe")
	if errors.Is(errList, unix.ENOENT) && errors.Is(errHelper, unix.ENOENT) {
		_, err := os.Stat(m.root + "proc/sys/kernel/ostype")
		return err == nil // else there is no /proc at all
	}
	if errHelper == nil && len(bytes.TrimSpace(helper)) == 0 {
		return true
	}
	disabled, err := os.ReadFile(m.root + "proc/sys/kernel/modules_disabled")
	return err == nil && string(bytes.TrimSpace(disabled)) == "1"
}

// builtin looks the module up in modules.builtin, whose lines are paths like kernel/net/netfilter/nf_tables.ko.
func (m *modules) builtin(name string) (bool, error) {
	release, err := os.ReadFile(m.root + "proc/sys/kernel/osrelease")
	if err != nil {
		return false, err
	}
	dir := strings.TrimSpace(string(release)) + "/modules.builtin"
	list, err := os.ReadFile(m.root + "lib/modules/" + dir)
	if err != nil {
		list, err = os.ReadFile(m.root + "usr/lib/modules/" + dir)
	}
	if err != nil {
		return false, err
	}
	if len(bytes.TrimSpace(list)) == 0 {
		return false, errors.New("modules.builtin is empty")
	}
	for line := range bytes.Lines(list) {
		file := line[bytes.LastIndexByte(line, '/')+1:]
		base, _, _ := bytes.Cut(file, []byte(".ko"))
		if string(bytes.ReplaceAll(base, []byte("-"), []byte("_"))) == name {
			return true, nil
		}
	}
	return false, nil
}

// symbol looks for the module's symbols. The addresses may be hidden from us, the names never are.
func (m *modules) symbol(name string) (bool, error) {
	if symbolOf(name) == "" {
		return false, errors.New("its symbols are not known")
	}
	if m.symbols == nil {
		text, err := os.ReadFile(m.root + "proc/kallsyms")
		if err != nil {
			return false, errors.New(cause(err))
		}
		if !bytes.Contains(text, []byte(" nf_register_net_hook")) {
			return false, errors.New("kallsyms lacks the symbols of netfilter")
		}
		m.symbols = map[string]bool{}
		for _, module := range []string{"nfnetlink", "nf_tables", "nft_compat", "nf_conntrack_netlink", "nfnetlink_hook"} {
			m.symbols[module] = bytes.Contains(text, []byte(" "+symbolOf(module)))
		}
	}
	return m.symbols[name], nil
}

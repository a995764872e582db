package inventory

import (
	"regexp"
	"strings"
)

// flagOptions are the flags of ssh that have a keyword of ssh_config with the same meaning.
var flagOptions = map[byte]string{
	'J': "ProxyJump", 'i': "IdentityFile", 'p': "Port", 'l': "User", 'b': "BindAddress", 'B': "BindInterface", 'c': "Ciphers",
	'm': "MACs", 'I': "PKCS11Provider",
}

// plainFlags take no argument: those with an option mean it, the others change nothing about how a host is reached.
var plainFlags = map[byte]string{
	'4': "AddressFamily=inet", '6': "AddressFamily=inet6", 'C': "Compression=yes",
	'q': "", 'v': "", 't': "", 'T': "", 'n': "", 'x': "", 'a': "",
}

// sshArguments turns ansible_ssh_args, ansible_ssh_common_args and ansible_ssh_extra_args into options.
func (r *resolver) sshArguments() {
	for _, name := range []string{"ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"} {
		text, v := r.text(name)
		words, err := split(text, false)
		if err != nil {
			r.fail(v, "", "%s: %v", name, err)
			continue
		}
		for len(words) > 0 {
			words = r.argument(name, words, v)
		}
	}
	if text, _ := r.text("ansible_ssh_pkcs11_provider"); text != "" {
		r.host.target.Options = append(r.host.target.Options, "PKCS11Provider="+text)
	}
}

// argument reads the first flag, and returns the words behind it. Flags may stand together (-qA), and an argument may stand
// right behind its flag (-oPort=22).
func (r *resolver) argument(name string, words []string, v value) []string {
	word, rest := words[0], words[1:]
	switch {
	case word == "":
		return rest
	case len(word) < 2 || word[0] != '-' || word == "--":
		r.fail(v, "", "%s: %q is no flag of ssh", name, word)
		return nil
	}
	for i := 1; i < len(word); i++ {
		if r.lone(name, word[i], v) {
			continue
		}
		argument := word[i+1:]
		if argument == "" && len(rest) > 0 {
			argument, rest = rest[0], rest[1:]
		}
		if !r.flag(name, word[i], argument, v) {
			return nil
		}
		break
	}
	return rest
}

// lone reads a flag that has no argument; false for another.
func (r *resolver) lone(name string, flag byte, v value) bool {
	if option, ok := plainFlags[flag]; ok {
		r.option(option, v)
		return true
	}
	if flag == 'A' || flag == 'X' || flag == 'Y' {
		r.warn(v, "%s: -%c is passed over: nothing is forwarded", name, flag)
		return true
	}
	return false
}

// flag reads a flag that has an argument; false when that is a mistake, which was said.
func (r *resolver) flag(name string, flag byte, argument string, v value) bool {
	keyword, ok := flagOptions[flag]
	switch {
	case flag == 'F':
		r.fail(v, "an ssh configuration for all hosts is a flag of ctaudit fleet", "%s: -F is one file for all hosts", name)
	case flag != 'o' && !ok:
		r.fail(v, "write it as -o Keyword=value", "%s: the flag -%c of ssh is not supported", name, flag)
	case argument == "":
		r.fail(v, "", "%s: nothing behind -%c", name, flag)
	case flag == 'o':
		r.option(argument, v)
		return true
	case strings.ContainsAny(argument, " \t"):
		r.option(keyword+`="`+argument+`"`, v)
		return true
	default:
		r.option(keyword+"="+argument, v)
		return true
	}
	return false
}

// keywordValue is an option as -o takes it, "Keyword=value" or "Keyword value".
var keywordValue = regexp.MustCompile(`^\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*?)\s*$`)

const keysAreChecked = "host keys are always checked (--host-key-policy accept-new notes those of new hosts)"

// option takes over one option of ssh_config. Those that would switch off the check of host keys, or forward the agent, do not
// count.
func (r *resolver) option(text string, v value) {
	if text == "" {
		return
	}
	m := keywordValue.FindStringSubmatch(text)
	if m == nil || m[2] == "" {
		r.fail(v, "write it as -o Keyword=value", "%q is no option of ssh", text)
		return
	}
	t := &r.host.target
	keyword, arg := m[1], strings.Trim(m[2], `"`)
	whole := keyword + "=" + m[2] // with its quotes, which ssh reads
	switch strings.ToLower(keyword) {
	case "stricthostkeychecking":
		if !strings.EqualFold(arg, "yes") {
			r.warn(v, "StrictHostKeyChecking=%s is passed over: "+keysAreChecked, arg)
		}
	case "userknownhostsfile", "globalknownhostsfile":
		if arg == "/dev/null" || strings.EqualFold(arg, "none") {
			r.warn(v, "%s=%s is passed over: host keys are checked against the usual known_hosts", keyword, arg)
			return
		}
		t.Options = append(t.Options, whole)
	case "forwardagent", "forwardx11":
		if !strings.EqualFold(arg, "no") {
			r.warn(v, "%s=%s is passed over: nothing is forwarded", keyword, arg)
		}
	case "controlmaster", "controlpersist", "controlpath": // Ansible's way to share connections
	case "port":
		r.portOption(arg, v)
	case "user":
		if t.User == "" {
			t.User = arg
		}
	default:
		t.Options = append(t.Options, whole)
	}
}

// portOption counts where no variable names a port: Ansible gives that to ssh first.
func (r *resolver) portOption(arg string, v value) {
	port, err := parsePort(arg)
	if err != nil {
		r.fail(v, "", "%s: %v", r.host.name, err)
	}
	if r.host.target.Port == 0 {
		r.host.target.Port = port
	}
}

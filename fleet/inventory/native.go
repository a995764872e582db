package inventory

// jumpKey and timeoutKey are variables of the native form that Ansible has not.
const (
	jumpKey    = "jump"
	timeoutKey = "timeout"
)

func (l *loader) parseNative([]pair) { l.fail(0, "", "the native form is not read yet") }

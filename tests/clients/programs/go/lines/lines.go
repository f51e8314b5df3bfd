// Package lines takes commands from the standard input, a line each, and answers a line at a time; `done` or `failed WHY` ends the answers.
package lines

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
)

// Command does one thing with its words.
type Command func(words []string) error

var saying sync.Mutex

// Say prints one line.
func Say(words ...any) {
	saying.Lock()
	defer saying.Unlock()
	fmt.Println(words...)
}

// Serve does what each line says, one after the other, until the input ends.
func Serve(commands map[string]Command) {
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Split(input.Text(), " ")
		command, known := commands[words[0]]
		if !known {
			Say("failed no such command")
			continue
		}
		if err := command(words[1:]); err != nil {
			Say("failed", strings.Join(strings.Fields(err.Error()), " "))
			continue
		}
		Say("done")
	}
}

// Write writes so many records from a number on.
type Write func(topic, codec string, first, count int) error

// Produce is the command `produce`.
func (write Write) Produce(words []string) error {
	return write(words[0], words[1], Number(words[2]), Number(words[3]))
}

// Flood is the command `flood`.
func (write Write) Flood(words []string) error {
	return write(words[0], "none", 0, Number(words[1]))
}

// Access is where the brokers are, and who asks.
type Access struct {
	Brokers        []string
	User, Password string
	TLS            *tls.Config
}

// ReadAccess takes `BOOTSTRAP [AUTHORITY USER PASSWORD]` from the arguments.
func ReadAccess() Access {
	access := Access{Brokers: strings.Split(os.Args[1], ",")}
	if len(os.Args) > 2 {
		authority, err := os.ReadFile(os.Args[2])
		if err != nil {
			panic(err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(authority) {
			panic("no certificate in " + os.Args[2])
		}
		access.TLS = &tls.Config{RootCAs: roots}
		access.User, access.Password = os.Args[3], os.Args[4]
	}
	return access
}

// Version is that of a module that is linked in.
func Version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	panic("not linked: " + module)
}

// Number reads a number from a command.
func Number(word string) int {
	number, err := strconv.Atoi(word)
	if err != nil {
		panic(err)
	}
	return number
}

// Header names the header that says a record's number again.
const Header = "number"

// Record gives the key, the value and the header of a number.
func Record(number int) (key, value, header string) {
	return fmt.Sprintf("k-%06d", number),
		fmt.Sprintf("v-%06d-%s", number, strings.Repeat("abcdefgh", 40)),
		fmt.Sprintf("%06d", number)
}

// SayOutcome says whether a record was acknowledged.
func SayOutcome(number int, err error) {
	if err != nil {
		Say("refused", number, strings.Join(strings.Fields(err.Error()), " "))
	} else {
		Say("acknowledged", number)
	}
}

// SayRecord says what a member read.
func SayRecord(member int, partition int32, offset int64, key, value []byte, headers map[string]string) {
	var entries []string
	for name, text := range headers {
		entries = append(entries, name+"="+text)
	}
	if len(entries) == 0 {
		entries = []string{"-"}
	}
	Say("record", member, partition, offset, string(key), string(value), strings.Join(entries, ","))
}

// Countdown tells when so many were counted.
type Countdown struct {
	left   int
	mutex  sync.Mutex
	Enough chan struct{}
}

// NewCountdown counts down from a number.
func NewCountdown(from int) *Countdown {
	return &Countdown{left: from, Enough: make(chan struct{})}
}

// Count counts one.
func (countdown *Countdown) Count() {
	countdown.mutex.Lock()
	defer countdown.mutex.Unlock()
	countdown.left--
	if countdown.left == 0 {
		close(countdown.Enough)
	}
}

// Transactions are what to write in each, and whether it is committed.
var Transactions = []struct {
	Keys   []string
	Commit bool
}{
	{[]string{"committed-0", "committed-1", "committed-2"}, true},
	{[]string{"aborted-0", "aborted-1", "aborted-2"}, false},
	{[]string{"last"}, true},
}

// Window is how many records may wait for their acknowledgement while a broker is killed.
const Window = 50

// Second opinions written in Go: go-eventlog replays logs, go-tdx-guest takes quotes apart and judges them.
//
// Reads one JSON request from standard input, {"command": ..., "cases": [...], "runs": n}, and writes one JSON list with
// an answer for each case. Bytes are in hex; a case names its file by "path".
package main

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/google/go-eventlog/ccel"
	"github.com/google/go-eventlog/extract"
	"github.com/google/go-eventlog/proto/state"
	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"
	"github.com/google/go-eventlog/tpmeventlog"
	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"
)

type logCase struct {
	Path      string            `json:"path"`
	Kind      string            `json:"kind"` // tpm | cc
	Bank      string            `json:"bank"`
	Table     string            `json:"table"`     // the ACPI table CCEL in hex, for "state"
	Registers map[string]string `json:"registers"` // register's number (of a PCR or an RTMR) to its value
	// For verdicts: the collateral's path, the time, and the DER of a root to trust in place of Intel's.
	Collateral string `json:"collateral"`
	At         int64  `json:"at"`
	Root       string `json:"root"`
}

type request struct {
	Command string    `json:"command"`
	Cases   []logCase `json:"cases"`
	Runs    int       `json:"runs"`
}

type answer map[string]any

var banks = map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384}
var algorithms = map[string]register.HashAlg{
	"sha1": register.HashSHA1, "sha256": register.HashSHA256, "sha384": register.HashSHA384,
}

func main() {
	out := answersAlone()
	var given request
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	commands := map[string]func(logCase, []byte, int) answer{
		"events": events, "replay": replay, "state": extracted, "quote": quote, "time": timed,
		"verdict": verdict, "time-verdict": timedVerdict,
	}
	command, known := commands[given.Command]
	if !known {
		fmt.Fprintln(os.Stderr, "unknown command", given.Command)
		os.Exit(2)
	}
	answers := []answer{}
	for _, one := range given.Cases {
		data, err := os.ReadFile(one.Path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		answers = append(answers, command(one, data, given.Runs))
	}
	if err := json.NewEncoder(out).Encode(answers); err != nil {
		os.Exit(2)
	}
}

// answersAlone: the standard output, closed to go-tdx-guest, which writes its warnings there.
func answersAlone() *os.File {
	copied, err := syscall.Dup(int(os.Stdout.Fd()))
	if err != nil {
		panic(err)
	}
	os.Stdout.Close()
	return os.NewFile(uintptr(copied), "answers")
}

func refused(err error) answer { return answer{"error": err.Error()} }

func options(kind string) tcg.ParseOpts { return tcg.ParseOpts{AllowPadding: kind == "cc"} }

// events: what the log says, nothing of it checked.
func events(one logCase, data []byte, _ int) answer {
	log, err := tcg.ParseEventLog(data, options(one.Kind))
	if err != nil {
		return refused(err)
	}
	listed := []answer{}
	for _, event := range log.Events(algorithms[one.Bank]) {
		listed = append(listed, answer{
			"index": event.Index, "type": uint32(event.Type),
			"digest": hex.EncodeToString(event.Digest), "data": hex.EncodeToString(event.Data),
		})
	}
	return answer{"events": listed}
}

// replay: whether the log's events give the registers; the library computes none, it only compares.
func replay(one logCase, data []byte, _ int) answer {
	verified, err := tcg.ParseAndReplay(data, registers(one), options(one.Kind))
	if err != nil {
		return refused(err)
	}
	covered := 0
	for _, event := range verified {
		if event.DigestVerified() {
			covered++
		}
	}
	return answer{"events": len(verified), "covered": covered}
}

// extracted: the same with everything that the library takes out of a log, which is stricter about its content.
func extracted(one logCase, data []byte, _ int) answer {
	opts := extract.Opts{Loader: extract.UnsupportedLoader}
	if one.Kind == "cc" {
		table, err := hex.DecodeString(one.Table)
		if err != nil {
			return refused(err)
		}
		bank := register.RTMRBank{}
		for number, value := range values(one) {
			bank.RTMRs = append(bank.RTMRs, register.RTMR{Index: number, Digest: value})
		}
		found, err := ccel.ReplayAndExtract(table, data, bank, opts)
		if err != nil {
			return refused(err)
		}
		return answer{"secureBoot": found.GetSecureBoot().GetEnabled(), "events": len(found.GetRawEvents())}
	}
	bank := register.PCRBank{TCGHashAlgo: state.HashAlgo(algorithms[one.Bank])}
	for number, value := range values(one) {
		bank.PCRs = append(bank.PCRs, register.PCR{Index: number, Digest: value, DigestAlg: banks[one.Bank]})
	}
	found, err := tpmeventlog.ReplayAndExtract(data, bank, opts)
	if err != nil {
		return refused(err)
	}
	return answer{"secureBoot": found.GetSecureBoot().GetEnabled(), "events": len(found.GetRawEvents())}
}

// quote: the registers that a TDX quote states; its signatures are not looked at.
func quote(_ logCase, data []byte, _ int) answer {
	parsed, err := abi.QuoteToProto(data)
	if err != nil {
		return refused(err)
	}
	found, known := parsed.(*pb.QuoteV4)
	if !known {
		return refused(fmt.Errorf("quote of type %T", parsed))
	}
	body := found.GetTdQuoteBody()
	rtmrs := []string{}
	for _, value := range body.GetRtmrs() {
		rtmrs = append(rtmrs, hex.EncodeToString(value))
	}
	return answer{"mrtd": hex.EncodeToString(body.GetMrTd()), "rtmrs": rtmrs}
}

// timed: seconds of each of so many replays, the file in memory.
func timed(one logCase, data []byte, runs int) answer {
	seconds := []float64{}
	for run := 0; run < runs; run++ {
		started := time.Now()
		if _, err := tcg.ParseAndReplay(data, registers(one), options(one.Kind)); err != nil {
			return refused(err)
		}
		seconds = append(seconds, time.Since(started).Seconds())
	}
	return answer{"seconds": seconds}
}

func registers(one logCase) []register.MR {
	found := []register.MR{}
	for number, value := range values(one) {
		if one.Kind == "cc" {
			found = append(found, register.RTMR{Index: number, Digest: value})
		} else {
			found = append(found, register.PCR{Index: number, Digest: value, DigestAlg: banks[one.Bank]})
		}
	}
	return found
}

func values(one logCase) map[int][]byte {
	found := map[int][]byte{}
	for name, text := range one.Registers {
		number, err := strconv.Atoi(name)
		if err != nil {
			panic(err)
		}
		value, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		found[number] = value
	}
	return found
}

// kafka-go does what the scenario says.
package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"flotilla.dev/clients/lines"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/scram"
)

var (
	access     = lines.ReadAccess()
	background = context.Background()
	codecs     = map[string]kafka.Compression{
		"none":   0,
		"gzip":   kafka.Gzip,
		"snappy": kafka.Snappy,
		"lz4":    kafka.Lz4,
		"zstd":   kafka.Zstd,
	}
)

func main() {
	lines.Serve(map[string]lines.Command{
		"about":   about,
		"create":  create,
		"list":    list,
		"produce": produce,
		"flood":   flood,
		"consume": consume,
		"offsets": offsets,
		"seek":    seek,
		"read":    read,
	})
}

func mechanism() sasl.Mechanism {
	if access.TLS == nil {
		return nil
	}
	mechanism, err := scram.Mechanism(scram.SHA512, access.User, access.Password)
	if err != nil {
		panic(err)
	}
	return mechanism
}

func transport() *kafka.Transport {
	return &kafka.Transport{TLS: access.TLS, SASL: mechanism(), MetadataTTL: time.Second}
}

func client() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(access.Brokers...), Transport: transport()}
}

func reader(config kafka.ReaderConfig) *kafka.Reader {
	config.Brokers = access.Brokers
	config.Dialer = &kafka.Dialer{Timeout: 10 * time.Second, TLS: access.TLS, SASLMechanism: mechanism()}
	config.MaxWait = 200 * time.Millisecond
	config.StartOffset = kafka.FirstOffset
	return kafka.NewReader(config)
}

func about([]string) error {
	lines.Say("version", lines.Version("github.com/segmentio/kafka-go"))
	lines.Say("codecs none gzip snappy lz4 zstd")
	lines.Say("can create headers groups offsets")
	return nil
}

func create(words []string) error {
	answer, err := client().CreateTopics(background, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic:             words[0],
		NumPartitions:     lines.Number(words[1]),
		ReplicationFactor: lines.Number(words[2]),
	}}})
	if err != nil {
		return err
	}
	return answer.Errors[words[0]]
}

func list([]string) error {
	answer, err := client().Metadata(background, &kafka.MetadataRequest{})
	if err != nil {
		return err
	}
	for _, topic := range answer.Topics {
		lines.Say("topic", topic.Name)
	}
	return nil
}

func writer(topic, codec string) *kafka.Writer {
	return &kafka.Writer{
		Addr:         kafka.TCP(access.Brokers...),
		Transport:    transport(),
		Topic:        topic,
		Balancer:     &kafka.Hash{},
		RequiredAcks: kafka.RequireAll,
		Compression:  codecs[codec],
		BatchTimeout: 10 * time.Millisecond,
	}
}

func message(number int) kafka.Message {
	key, value, header := lines.Record(number)
	return kafka.Message{
		Key:     []byte(key),
		Value:   []byte(value),
		Headers: []kafka.Header{{Key: lines.Header, Value: []byte(header)}},
	}
}

func produce(words []string) error {
	writing := writer(words[0], words[1])
	first, count := lines.Number(words[2]), lines.Number(words[3])
	var messages []kafka.Message
	for number := first; number < first+count; number++ {
		messages = append(messages, message(number))
	}
	if err := writing.WriteMessages(background, messages...); err != nil {
		return err
	}
	for number := first; number < first+count; number++ {
		lines.SayOutcome(number, nil)
	}
	return writing.Close()
}

// Keeps some records on their way, and says of each whether it was acknowledged.
func flood(words []string) error {
	writing := writer(words[0], "none")
	var settled sync.WaitGroup
	window := make(chan struct{}, lines.Window)
	for number := range lines.Number(words[1]) {
		window <- struct{}{}
		settled.Go(func() {
			lines.SayOutcome(number, writing.WriteMessages(background, message(number)))
			<-window
		})
	}
	settled.Wait()
	return writing.Close()
}

func say(member int, record kafka.Message) {
	headers := map[string]string{}
	for _, header := range record.Headers {
		headers[header.Key] = string(header.Value)
	}
	lines.SayRecord(member, int32(record.Partition), record.Offset, record.Key, record.Value, headers)
}

func consume(words []string) error {
	countdown := lines.NewCountdown(lines.Number(words[2]))
	reading, stop := context.WithCancel(background)
	var members [2]*kafka.Reader
	var read [2][]kafka.Message
	var done sync.WaitGroup
	for number := range members {
		member := reader(kafka.ReaderConfig{GroupID: words[1], Topic: words[0]})
		members[number] = member
		done.Go(func() {
			for {
				record, err := member.FetchMessage(reading)
				if err != nil {
					return
				}
				say(number, record)
				read[number] = append(read[number], record)
				countdown.Count()
			}
		})
	}
	<-countdown.Enough
	stop()
	done.Wait()
	var failure error
	for number, member := range members {
		failure = errors.Join(failure, member.CommitMessages(background, read[number]...))
	}
	return errors.Join(failure, members[0].Close(), members[1].Close())
}

func offsets(words []string) error {
	partition := lines.Number(words[1])
	answer, err := client().ListOffsets(background, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{
			words[0]: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)},
		},
	})
	if err != nil {
		return err
	}
	found := answer.Topics[words[0]][0]
	lines.Say("offsets", found.FirstOffset, found.LastOffset)
	return found.Error
}

func seek(words []string) error {
	records := reader(kafka.ReaderConfig{Topic: words[0], Partition: lines.Number(words[1])})
	if err := records.SetOffset(int64(lines.Number(words[2]))); err != nil {
		return err
	}
	record, err := records.ReadMessage(background)
	if err != nil {
		return err
	}
	say(0, record)
	return records.Close()
}

func read(words []string) error {
	isolation := kafka.ReadUncommitted
	if words[1] == "read_committed" {
		isolation = kafka.ReadCommitted
	}
	records := reader(kafka.ReaderConfig{Topic: words[0], IsolationLevel: isolation})
	for {
		record, err := records.ReadMessage(background)
		if err != nil {
			return err
		}
		say(0, record)
		if string(record.Key) == words[2] {
			return records.Close()
		}
	}
}

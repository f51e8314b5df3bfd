// franz-go does what the scenario says.
package main

import (
	"context"
	"sync"

	"flotilla.dev/clients/lines"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var (
	access     = lines.ReadAccess()
	background = context.Background()
	codecs     = map[string]kgo.CompressionCodec{
		"none":   kgo.NoCompression(),
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	}
)

func main() {
	lines.Serve(map[string]lines.Command{
		"about":    about,
		"create":   create,
		"list":     list,
		"produce":  lines.Write(write).Produce,
		"flood":    lines.Write(write).Flood,
		"consume":  consume,
		"offsets":  offsets,
		"seek":     seek,
		"transact": transact,
		"read":     read,
	})
}

func connect(options ...kgo.Opt) (*kgo.Client, error) {
	options = append(options, kgo.SeedBrokers(access.Brokers...))
	if access.TLS != nil {
		mechanism := scram.Auth{User: access.User, Pass: access.Password}.AsSha512Mechanism()
		options = append(options, kgo.DialTLSConfig(access.TLS), kgo.SASL(mechanism))
	}
	return kgo.NewClient(options...)
}

func withAdmin(do func(*kadm.Client) error) error {
	client, err := connect()
	if err != nil {
		return err
	}
	defer client.Close()
	return do(kadm.NewClient(client))
}

func about([]string) error {
	lines.Say("version", lines.Version("github.com/twmb/franz-go"))
	lines.Say("codecs none gzip snappy lz4 zstd")
	lines.Say("can create idempotence headers groups offsets transactions isolation")
	return nil
}

func create(words []string) error {
	return withAdmin(func(admin *kadm.Client) error {
		partitions, replicas := int32(lines.Number(words[1])), int16(lines.Number(words[2]))
		_, err := admin.CreateTopic(background, partitions, replicas, nil, words[0])
		return err
	})
}

func list([]string) error {
	return withAdmin(func(admin *kadm.Client) error {
		topics, err := admin.ListTopics(background)
		for _, name := range topics.Names() {
			lines.Say("topic", name)
		}
		return err
	})
}

// Keeps some records on their way, and says of each whether it was acknowledged.
func write(topic, codec string, first, count int) error {
	client, err := connect(kgo.ProducerBatchCompression(codecs[codec]))
	if err != nil {
		return err
	}
	defer client.Close()
	window := make(chan struct{}, lines.Window)
	for number := first; number < first+count; number++ {
		key, value, header := lines.Record(number)
		record := &kgo.Record{
			Topic:   topic,
			Key:     []byte(key),
			Value:   []byte(value),
			Headers: []kgo.RecordHeader{{Key: lines.Header, Value: []byte(header)}},
		}
		window <- struct{}{}
		client.Produce(background, record, func(_ *kgo.Record, err error) {
			lines.SayOutcome(number, err)
			<-window
		})
	}
	return client.Flush(background)
}

func say(member int, record *kgo.Record) {
	headers := map[string]string{}
	for _, header := range record.Headers {
		headers[header.Key] = string(header.Value)
	}
	lines.SayRecord(member, record.Partition, record.Offset, record.Key, record.Value, headers)
}

func consume(words []string) error {
	countdown := lines.NewCountdown(lines.Number(words[2]))
	polling, stop := context.WithCancel(background)
	var members [2]*kgo.Client
	var done sync.WaitGroup
	for number := range members {
		member, err := connect(
			kgo.ConsumerGroup(words[1]),
			kgo.ConsumeTopics(words[0]),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.DisableAutoCommit(),
		)
		if err != nil {
			stop()
			return err
		}
		defer member.Close()
		members[number] = member
		done.Go(func() {
			for polling.Err() == nil {
				member.PollFetches(polling).EachRecord(func(record *kgo.Record) {
					say(number, record)
					countdown.Count()
				})
			}
		})
	}
	<-countdown.Enough
	stop()
	done.Wait()
	for _, member := range members {
		if err := member.CommitUncommittedOffsets(background); err != nil {
			return err
		}
	}
	return nil
}

func offsets(words []string) error {
	return withAdmin(func(admin *kadm.Client) error {
		starts, err := admin.ListStartOffsets(background, words[0])
		if err != nil {
			return err
		}
		ends, err := admin.ListEndOffsets(background, words[0])
		if err != nil {
			return err
		}
		partition := int32(lines.Number(words[1]))
		start, _ := starts.Lookup(words[0], partition)
		end, _ := ends.Lookup(words[0], partition)
		lines.Say("offsets", start.Offset, end.Offset)
		return nil
	})
}

func seek(words []string) error {
	offset := kgo.NewOffset().At(int64(lines.Number(words[2])))
	partition := int32(lines.Number(words[1]))
	client, err := connect(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{words[0]: {partition: offset}}))
	if err != nil {
		return err
	}
	defer client.Close()
	fetches := client.PollRecords(background, 1)
	fetches.EachRecord(func(record *kgo.Record) { say(0, record) })
	return fetches.Err()
}

func transact(words []string) error {
	client, err := connect(kgo.TransactionalID("franz-go"), kgo.DefaultProduceTopic(words[0]))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, transaction := range lines.Transactions {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		for _, key := range transaction.Keys {
			record := &kgo.Record{Key: []byte(key), Value: []byte(key)}
			if err := client.ProduceSync(background, record).FirstErr(); err != nil {
				return err
			}
		}
		if err := client.EndTransaction(background, kgo.TransactionEndTry(transaction.Commit)); err != nil {
			return err
		}
	}
	return nil
}

func read(words []string) error {
	isolation := kgo.ReadUncommitted()
	if words[1] == "read_committed" {
		isolation = kgo.ReadCommitted()
	}
	client, err := connect(
		kgo.ConsumeTopics(words[0]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(isolation),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for last := false; !last; {
		fetches := client.PollFetches(background)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			say(0, record)
			last = last || string(record.Key) == words[2]
		})
	}
	return nil
}

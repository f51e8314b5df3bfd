// sarama does what the scenario says.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"sync"

	"flotilla.dev/clients/lines"
	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

var (
	access     = lines.ReadAccess()
	background = context.Background()
	codecs     = map[string]sarama.CompressionCodec{
		"none":   sarama.CompressionNone,
		"gzip":   sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy,
		"lz4":    sarama.CompressionLZ4,
		"zstd":   sarama.CompressionZSTD,
	}
)

func main() {
	sarama.Logger = log.New(os.Stderr, "", log.LstdFlags)
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

// conversation is what sarama leaves to its users of SCRAM.
type conversation struct{ *scram.ClientConversation }

func (c *conversation) Begin(user, password, authorization string) error {
	client, err := scram.SHA512.NewClient(user, password, authorization)
	if err != nil {
		return err
	}
	c.ClientConversation = client.NewConversation()
	return nil
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Producer.Return.Successes = true
	// Three tries within 300 ms are its default: fewer than a failover takes.
	config.Producer.Retry.Max = 100
	config.Net.MaxOpenRequests = 1
	if access.TLS != nil {
		config.Net.TLS.Enable = true
		config.Net.TLS.Config = access.TLS
		config.Net.SASL.Enable = true
		config.Net.SASL.User = access.User
		config.Net.SASL.Password = access.Password
		config.Net.SASL.Mechanism = sarama.SASLTypeSCRAMSHA512
		config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{} }
	}
	return config
}

func about([]string) error {
	lines.Say("version", lines.Version("github.com/IBM/sarama"))
	lines.Say("codecs none gzip snappy lz4 zstd")
	lines.Say("can create idempotence headers groups offsets transactions isolation")
	return nil
}

func withAdmin(do func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin(access.Brokers, config())
	if err != nil {
		return err
	}
	return errors.Join(do(admin), admin.Close())
}

func create(words []string) error {
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		detail := &sarama.TopicDetail{
			NumPartitions:     int32(lines.Number(words[1])),
			ReplicationFactor: int16(lines.Number(words[2])),
		}
		return admin.CreateTopic(words[0], detail, false)
	})
}

func list([]string) error {
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		topics, err := admin.ListTopics()
		for name := range topics {
			lines.Say("topic", name)
		}
		return err
	})
}

// Keeps some records on their way, and says of each whether it was acknowledged.
func write(topic, codec string, first, count int) error {
	settings := config()
	settings.Producer.Compression = codecs[codec]
	producer, err := sarama.NewAsyncProducer(access.Brokers, settings)
	if err != nil {
		return err
	}
	window := make(chan struct{}, lines.Window)
	var settled sync.WaitGroup
	settled.Go(func() {
		for record := range producer.Successes() {
			lines.SayOutcome(record.Metadata.(int), nil)
			<-window
		}
	})
	settled.Go(func() {
		for failed := range producer.Errors() {
			lines.SayOutcome(failed.Msg.Metadata.(int), failed.Err)
			<-window
		}
	})
	for number := first; number < first+count; number++ {
		key, value, header := lines.Record(number)
		window <- struct{}{}
		producer.Input() <- &sarama.ProducerMessage{
			Topic:    topic,
			Key:      sarama.StringEncoder(key),
			Value:    sarama.StringEncoder(value),
			Headers:  []sarama.RecordHeader{{Key: []byte(lines.Header), Value: []byte(header)}},
			Metadata: number,
		}
	}
	producer.AsyncClose()
	settled.Wait()
	return nil
}

func say(member int, record *sarama.ConsumerMessage) {
	headers := map[string]string{}
	for _, header := range record.Headers {
		headers[string(header.Key)] = string(header.Value)
	}
	lines.SayRecord(member, record.Partition, record.Offset, record.Key, record.Value, headers)
}

// member says what it reads, and commits when that is enough.
type member struct {
	number    int
	countdown *lines.Countdown
}

func (*member) Setup(sarama.ConsumerGroupSession) error { return nil }

func (*member) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case record, open := <-claim.Messages():
			if !open {
				return nil
			}
			say(m.number, record)
			session.MarkMessage(record, "")
			m.countdown.Count()
		case <-session.Context().Done():
			return nil
		}
	}
}

func consume(words []string) error {
	countdown := lines.NewCountdown(lines.Number(words[2]))
	reading, stop := context.WithCancel(background)
	failures := make(chan error, 2)
	for number := range 2 {
		group, err := sarama.NewConsumerGroup(access.Brokers, words[1], config())
		if err != nil {
			stop()
			return err
		}
		go func() {
			var err error
			for reading.Err() == nil && err == nil {
				err = group.Consume(reading, words[:1], &member{number, countdown})
			}
			failures <- errors.Join(err, group.Close())
		}()
	}
	<-countdown.Enough
	stop()
	return errors.Join(<-failures, <-failures)
}

func offsets(words []string) error {
	client, err := sarama.NewClient(access.Brokers, config())
	if err != nil {
		return err
	}
	defer client.Close()
	partition := int32(lines.Number(words[1]))
	start, err := client.GetOffset(words[0], partition, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	end, err := client.GetOffset(words[0], partition, sarama.OffsetNewest)
	lines.Say("offsets", start, end)
	return err
}

// Reads a partition from an offset on until `enough`.
func readFrom(settings *sarama.Config, topic string, partition int32, offset int64, enough func(*sarama.ConsumerMessage) bool) error {
	consumer, err := sarama.NewConsumer(access.Brokers, settings)
	if err != nil {
		return err
	}
	defer consumer.Close()
	records, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return err
	}
	for record := range records.Messages() {
		say(0, record)
		if enough(record) {
			break
		}
	}
	return records.Close()
}

func seek(words []string) error {
	partition, offset := int32(lines.Number(words[1])), int64(lines.Number(words[2]))
	return readFrom(config(), words[0], partition, offset, func(*sarama.ConsumerMessage) bool { return true })
}

func read(words []string) error {
	settings := config()
	if words[1] == "read_committed" {
		settings.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	return readFrom(settings, words[0], 0, sarama.OffsetOldest, func(record *sarama.ConsumerMessage) bool {
		return string(record.Key) == words[2]
	})
}

func transact(words []string) error {
	settings := config()
	settings.Producer.Transaction.ID = "sarama"
	producer, err := sarama.NewSyncProducer(access.Brokers, settings)
	if err != nil {
		return err
	}
	for _, transaction := range lines.Transactions {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		for _, key := range transaction.Keys {
			record := &sarama.ProducerMessage{
				Topic: words[0],
				Key:   sarama.StringEncoder(key),
				Value: sarama.StringEncoder(key),
			}
			if _, _, err := producer.SendMessage(record); err != nil {
				return err
			}
		}
		end := producer.AbortTxn
		if transaction.Commit {
			end = producer.CommitTxn
		}
		if err := end(); err != nil {
			return err
		}
	}
	return producer.Close()
}

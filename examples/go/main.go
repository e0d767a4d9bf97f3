// Command memalpha-go memorizes a short conversation, recalls from it, and shows how a refused call looks.
//
// It needs the services that `memalpha up` starts. Run again, it stores nothing twice: messages have ids.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	agentpb "example.com/memalpha-go/api/agent/v1alpha1"
	memorypb "example.com/memalpha-go/api/memory/v1alpha1"
)

const bank = "example-go"

var conversation = []*agentpb.MemorizeItem{
	{ItemId: "go-1", Speaker: "Caroline", EventTime: "2023-05-08T13:56", Text: "I adopted a dog today! His name is Biscuit."},
	{ItemId: "go-2", Speaker: "Melanie", EventTime: "2023-05-08T13:57", Text: "Lovely! My sister Joan lives in Oslo with two cats."},
	{ItemId: "go-3", Speaker: "Caroline", EventTime: "2023-05-09T09:10", Text: "I work as a nurse in Leeds now."},
}

var questions = []string{"What is the name of Caroline's dog?", "Where does Joan live?"}

func main() {
	memoryAddress := flag.String("memory", "127.0.0.1:50051", "address of the memory service")
	agentAddress := flag.String("agent", "127.0.0.1:50052", "address of the agent service")
	flag.Parse()
	if err := run(*memoryAddress, *agentAddress); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(memoryAddress, agentAddress string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	plaintext := grpc.WithTransportCredentials(insecure.NewCredentials())
	memoryConn, err := grpc.NewClient(memoryAddress, plaintext)
	if err != nil {
		return err
	}
	defer memoryConn.Close()
	agentConn, err := grpc.NewClient(agentAddress, plaintext)
	if err != nil {
		return err
	}
	defer agentConn.Close()
	memory, agent := memorypb.NewMemoryServiceClient(memoryConn), agentpb.NewAgentServiceClient(agentConn)
	if err := memorize(ctx, memory, agent); err != nil {
		return err
	}
	for _, question := range questions {
		if err := recall(ctx, agent, question); err != nil {
			return err
		}
	}
	return beRefused(ctx, memory)
}

// memorize stores the conversation and waits until the policy has read it.
func memorize(ctx context.Context, memory memorypb.MemoryServiceClient, agent agentpb.AgentServiceClient) error {
	_, err := memory.CreateBank(ctx, &memorypb.CreateBankRequest{BankId: bank})
	if err != nil && reason(err) != "BANK_ALREADY_EXISTS" {
		return err
	}
	request := &agentpb.MemorizeRequest{BankId: bank, Items: conversation, Wait: true}
	response, err := agent.Memorize(ctx, request)
	if err != nil {
		return err
	}
	for _, receipt := range response.Receipts {
		fmt.Printf("%s %s, stored before: %t\n", receipt.ChunkId, receipt.State, receipt.AlreadyStored)
	}
	return nil
}

// recall prints what the bank knows about a question, best first.
func recall(ctx context.Context, agent agentpb.AgentServiceClient, question string) error {
	response, err := agent.Recall(ctx, &agentpb.RecallRequest{BankId: bank, Query: question})
	if err != nil {
		return err
	}
	fmt.Println(question)
	for _, hit := range response.Hits {
		if found := hit.GetMemory(); found != nil {
			fmt.Printf("  %.2f  %s %s\n", hit.Score, found.EventTime, found.Content)
		} else {
			fmt.Printf("  %.2f  not memorized yet: %s\n", hit.Score, hit.GetPending().GetText())
		}
	}
	return nil
}

// beRefused asks for a bank that is not there. Programs decide by the reason, people read the message.
func beRefused(ctx context.Context, memory memorypb.MemoryServiceClient) error {
	_, err := memory.GetBank(ctx, &memorypb.GetBankRequest{BankId: "nobody"})
	if err == nil {
		return errors.New("there is a bank called nobody; delete it and try again")
	}
	fmt.Printf("refused: %s: %s\n", reason(err), status.Convert(err).Message())
	return nil
}

// reason returns the stable reason of a failed call, or "" if it has none.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "memalpha" {
			return info.Reason
		}
	}
	return ""
}

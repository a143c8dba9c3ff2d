CREATE TABLE "conversations" (
	"tenant" text NOT NULL,
	"conversation_id" text NOT NULL,
	"jurisdiction" text NOT NULL,
	"next_seq" bigint NOT NULL,
	"fence" bigint NOT NULL,
	"erased_at_ms" bigint,
	CONSTRAINT "conversations_pkey" PRIMARY KEY("tenant","conversation_id")
);
--> statement-breakpoint
CREATE TABLE "items" (
	"tenant" text NOT NULL,
	"conversation_id" text NOT NULL,
	"seq" bigint NOT NULL,
	"item_id" text NOT NULL,
	"type" text NOT NULL,
	"turn_id" text,
	"payload" text NOT NULL,
	"created_at_ms" bigint NOT NULL,
	"deleted_at_ms" bigint,
	CONSTRAINT "items_pkey" PRIMARY KEY("tenant","conversation_id","seq")
);
--> statement-breakpoint
CREATE TABLE "usage" (
	"tenant" text NOT NULL,
	"turn_id" text NOT NULL,
	"jurisdiction" text NOT NULL,
	"request_id" text NOT NULL,
	"model" text NOT NULL,
	"shard" text,
	"status" text NOT NULL,
	"prompt_tokens" bigint NOT NULL,
	"completion_tokens" bigint NOT NULL,
	"cached_tokens" bigint NOT NULL,
	"reasoning_tokens" bigint NOT NULL,
	"created_at_ms" bigint NOT NULL,
	CONSTRAINT "usage_pkey" PRIMARY KEY("tenant","turn_id")
);
--> statement-breakpoint
CREATE INDEX "usage_tenant_created_at_ms_idx" ON "usage" USING btree ("tenant","created_at_ms");
CREATE TABLE "canary_references" (
	"cell" text NOT NULL,
	"model" text NOT NULL,
	"revision" text NOT NULL,
	"prompt" text NOT NULL,
	"answer" text NOT NULL,
	"kept_at_ms" bigint NOT NULL,
	CONSTRAINT "canary_references_pkey" PRIMARY KEY("cell","model","revision","prompt")
);

CREATE TABLE "scaler_demand" (
	"region" text NOT NULL,
	"cell" text NOT NULL,
	"model" text NOT NULL,
	"report" text NOT NULL,
	"reported_at_ms" bigint NOT NULL,
	CONSTRAINT "scaler_demand_pkey" PRIMARY KEY("region","cell","model")
);
--> statement-breakpoint
CREATE TABLE "scaler_leases" (
	"region" text NOT NULL,
	"holder" text NOT NULL,
	"token" bigint NOT NULL,
	"expires_at_ms" bigint NOT NULL,
	CONSTRAINT "scaler_leases_pkey" PRIMARY KEY("region")
);
--> statement-breakpoint
CREATE TABLE "scaler_plans" (
	"region" text NOT NULL,
	"model" text NOT NULL,
	"token" bigint NOT NULL,
	"plan" text NOT NULL,
	"state" text NOT NULL,
	"planned_at_ms" bigint NOT NULL,
	CONSTRAINT "scaler_plans_pkey" PRIMARY KEY("region","model")
);

-- Both sides of the content.  COLLATE "C": a copy goes through a content type in
-- the order of its slugs, and where it stopped must mean the same next time.
CREATE TABLE "entry" (
	"type_key" TEXT NOT NULL,
	"slug" TEXT COLLATE "C" NOT NULL,
	"title" TEXT NOT NULL,
	"body" TEXT NOT NULL,

	CONSTRAINT "entry_pkey" PRIMARY KEY ("type_key", "slug")
);

CREATE TABLE "published_entry" (
	"type_key" TEXT NOT NULL,
	"slug" TEXT COLLATE "C" NOT NULL,
	"title" TEXT NOT NULL,
	"body" TEXT NOT NULL,

	CONSTRAINT "published_entry_pkey" PRIMARY KEY ("type_key", "slug")
);

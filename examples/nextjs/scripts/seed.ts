/*
 * Writes some content to our side, so that there is something to synchronise:
 *
 *	npm run seed
 */
import { prisma } from "../lib/database";

const AMOUNTS = { article: 1_200, author: 40, page: 12 };

for (const [typeKey, amount] of Object.entries(AMOUNTS)) {
  const data = Array.from({ length: amount }, (_, i) => ({
    typeKey, slug: `${typeKey}-${String(i + 1).padStart(4, "0")}`, title: `The ${typeKey} no. ${i + 1}`, body: "",
  }));
  const { count } = await prisma().entry.createMany({ data, skipDuplicates: true });
  console.log(`${typeKey}: ${count} entries written`);
}
await prisma().$disconnect();

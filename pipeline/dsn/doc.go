// Package dsn reads the mails that come back to a sender: delivery status notifications (RFC 3464 in the multipart/report of
// RFC 6522, internationalised ones of RFC 6533), the texts that mail servers write instead of or beside them (qmail's QSBMF, Exim,
// Sendmail, Exchange, Gmail and free text), feedback reports of complaints (RFC 5965), automatic replies (RFC 3834) and challenges.
// [Parse] turns the bytes of one mail into a [Report]: what kind of mail it is, which message it speaks of, and what became of each
// recipient, in the words of the server that refused it.
//
// It reads, it does not judge: a code that contradicts the words is returned as it stands, and nothing says whether an
// address is to be suppressed. A report proves nothing about who wrote it (RFC 3464, section 4): whoever acts on one checks
// first that the message was the sender's own.
//
// Words before form: the code in a server's reply outranks the one that the reporting server put into its fields, and what the text quotes
// fills what the fields leave open. [Recipient.StatusSource] tells who made the code, [Recipient.ReportedStatus] keeps the other.
//
// Everything is bounded by [Limits]: bytes, nesting, parts, header fields, recipients, lengths of strings; time and memory are linear in what
// they let through. No archive is unpacked, nothing is looked up. Damaged MIME, base64, quoted-printable and character sets are read as far as they go. All
// strings that are returned are valid UTF-8 and single lines; they are the words of strangers all the same. Parse is a pure
// function and safe for concurrent use; a Report shares no memory with the mail.
package dsn

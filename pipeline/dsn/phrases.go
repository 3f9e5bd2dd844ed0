package dsn

import "strings"

// signatures are words by which a mail server's own text is known, in lower case. The first that occurs names the format.
var signatures = [...]struct{ words, format string }{
	{"this is the qmail-send program", "qsbmf"},
	{"this is the james mail server", "james"},
	{"this is the haraka mailer program", "haraka"},
	{"dragonfly mail agent", "dma"},
	{"automatically by the mail system (ecelerity)", "momentum"},
	{"this message was created automatically by mail delivery software", "exim"},
	{"please do not reply to this email.\n\n    an error has occurred", "opensmtpd"},
	{"recipient addresses that were\nincorrectly constructed", "exim"},
	{"this is the mail system at host", "postfix"},
	{"this is the postfix program at host", "postfix"},
	{"transcript of session follows", "sendmail"},
	{"had permanent fatal errors", "sendmail"},
	{"had transient non-fatal errors", "sendmail"},
	{"technical details of permanent failure", "gmail"},
	{"technical details of temporary failure", "gmail"},
	{"diagnostic information for administrators", "exchange"},
	{"did not reach the following recipient(s)", "exchange"},
	{"generating server:", "exchange"},
	{"remote server returned '", "exchange"},
	{"not listed in domino directory", "domino"},
	{"not listed in public name & address book", "domino"},
	{"mailenable", "mailenable"},
	{"hmailserver", "hmailserver"},
	{"xmail bounce:", "xmail"},
	{"mail delivery failed: returning message to sender", "exim"},
	{"sorry, we were unable to deliver your message to the following address", "yahoo"},
	{"running the courier mail server", "courier"},
	{"this is a delivery failure notification message which indicates", "mimecast"},
	{"i'm afraid i wasn't able to deliver your message", "qsbmf"},
}

func formatOf(low string, top *header) string {
	for _, s := range signatures {
		if strings.Contains(low, s.words) {
			return s.format
		}
	}
	switch {
	case top.has("X-MailEnable-Message"):
		return "mailenable"
	case strings.Contains(strings.ToLower(top.get("From")), "courier mail server"):
		return "courier"
	}
	return ""
}

// machineNames are the names of mail systems as senders.
var machineNames = [...]string{
	"mailer-daemon", "mailer_daemon", "maildaemon", "postmaster", "post_master", "mail delivery", "mail.delivery", "mail system", "mail-system", "mailsystem", "system administrator", "mail administrator",
	"mailer daemon", "delivery subsystem", "ndr administrator", "microsoftexchange", "internet mail delivery", "double-bounce", "mail-daemon", "courier mail server", "<@>",
	"mdaemon@", "mailer@", "mailadmin", "mail admin", "delivery-agent", "mail delivery agent", "mail-service", "mail service",
}

// finalWords tell in a diagnostic that a message that is called delayed was given up, in lower case.
var finalWords = [...]string{
	"envelope expired", "message expired", "giving up", "given up", "gave up", "no further attempt", "no further delivery attempt", "will not be retried", "in the queue too long", "too long in the queue",
	"retry timeout exceeded", "retry time exceeded", "could not be delivered for too long", "will be deleted from queue", "delivery time expired", "queue.expired",
}

// delayWords tell a delay from a failure, in lower case.
var delayWords = [...]string{
	"warning message only", "has been delayed", "is delayed for", "is delayed to", "not yet been delivered", "hasn't been delivered yet", "delivery attempts will continue", "will continue to be attempted", "will keep trying", "message will be retried",
	"status notification (delay)", "still undelivered", "could not send message for past", "delivery delayed", "delivery delay", "you do not need to re-send", "you do not need to resend", "temporary failure report",
	"verzögert", "verzögerung", "wird weiterhin versucht", "bisher nicht zugestellt", "retardé", "différée", "n'a pas encore été", "retrasad", "demora en la entrega", "todavía no se ha entregado", "se seguirá intentando",
	"ritardo", "non è stato ancora", "continuerà a tentare", "entrega atrasada", "ainda não foi entregue", "continuará tentando", "vertraagd", "vertraging", "nog niet bezorgd", "opóźnion", "opóźnienie",
	"задержк", "пока не доставлен", "попытки доставки будут", "延迟", "延遲", "继续尝试", "遅延", "遅れ", "再送を試み", "지연",
}

// autoSubjects are parts of the subjects of automatic replies, in lower case. RFC 3834, section 3.1.5 proposes "Auto: ".
var autoSubjects = [...]string{
	"auto: ", "automatic reply", "auto reply", "auto-reply", "autoreply", "autoresponse", "auto response", "automated reply", "automated response", "out of office", "out of the office", "out-of-office", "on vacation", "vacation reply",
	"away from", "automatische antwort", "abwesenheit", "nicht im büro", "réponse automatique", "reponse automatique", "absence du bureau", "en vacances", "absent du",
	"respuesta automática", "fuera de la oficina", "risposta automatica", "fuori sede", "fuori ufficio", "resposta automática", "ausência temporária", "automatisch antwoord", "afwezig", "automatiskt svar", "autosvar", "automaattinen vastaus", "automatyczna odpowiedź", "autoodpowiedź", "otomatik yanıt",
	"自動返信", "自動応答", "不在", "自动回复", "自動回覆", "автоответ", "автоматический ответ", "자동 회신", "부재 중",
}

// challengeWords are those of systems that let mail through only if a person confirms it, in lower case.
var challengeWords = [...]string{
	"please confirm that you sent", "please confirm your message", "confirm that you are a human", "confirm you are human", "prove you are human", "prove that you are a human", "spam arrest", "spamarrest", "verify that you are a person",
	"challenge-response", "challenge/response", "to have your message delivered, please", "your message is being held until", "to release your message for delivery", "please click the link below to verify your", "boxbe",
	"sender verification required", "verification required", "request to be added to the approved sender", "needs to be confirmed before it is delivered", "bitte bestätigen sie ihre nachricht", "veuillez confirmer votre message", "por favor confirme su mensaje",
}

// boilerplate are parts of lines that stand in every report of a server and tell nothing of this one, in lower case.
var boilerplate = [...]string{
	"please reply to", "if you feel", "for further assistance", "please contact", "if your message was also sent", "status is not included in this report", "this is an automatically generated", "do not reply to this", "please do not reply",
	"no action is required", "this may be repeated", "in error.",
}
